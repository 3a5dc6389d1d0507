//! `forkyard demo`: the same primary, with workers inside this binary.

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use forkyard::{Cluster, Output, Program, Surge, WhenBusy, Worker};

use crate::args::Demo;
use crate::belongings::Own;
use crate::boot::{Boot, BootRule};
use crate::control::{Control, ControlRule};
use crate::exit_code::Failure;
use crate::launch::Plan;
use crate::limits::Limits;
use crate::planning::Source;
use crate::reload::{ReloadRule, Reloads};
use crate::report::{Opening, Reporter};
use crate::run::{Desk, Staff, serve};
use crate::signals::HeldSignals;
use crate::sink::Printer;
use crate::triggers::Triggers;

/// Runs the primary.
pub(crate) fn demo(
    options: &Demo,
    signals: HeldSignals,
    reporter: &Reporter,
) -> Result<ExitCode, Failure> {
    let program =
        Program::itself().map_err(|error| Failure::unexpected("failed to start", &error))?;
    let workers = options.workers.value.count();
    let plan = Plan { program: program.clone(), workers };
    let source: Source = Arc::new(move || Ok(plan.clone()));
    let rule = ReloadRule { surge: Surge::Workers(1), second: WhenBusy::Wait };
    let builder = Cluster::builder()
        .program(program)
        .policy_rule(options.policy.value.clone())
        .output(Output::Lines(Box::new(Printer::new(options.log_format))));
    let opening = Opening {
        app: "demo".into(),
        program: format!("http://127.0.0.1:{}", options.port),
        policy: options.policy.value.policy,
    };
    let staff = Staff { listen: &[], workers, spares: 0 };
    let desk = Desk {
        reporter,
        reloads: Reloads::new(source, rule),
        limits: Limits::default(),
        control: Control::of(&opening.app, ControlRule::Serve, reporter),
        belongings: Box::new(Own::default()),
        triggers: Triggers::none(),
        boot: Boot::of(BootRule::default(), reporter),
    };
    let ended = serve(builder, Some(staff), signals, &opening, desk)?;
    Ok(ExitCode::from(ended.code))
}

/// As a worker serves the page.
pub(crate) fn work(port: u16) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected("failed to start", &error))?;
    let served = runtime.block_on(answer(port));
    served.map_err(|error| Failure::unexpected("failed to serve the demo", &*error))?;
    Ok(ExitCode::SUCCESS)
}

async fn answer(port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let worker = Worker::from_env()?;
    let listener = worker.listen(("127.0.0.1", port)).await?;
    let text = format!("Hello from worker {} (pid {})\n", worker.id(), std::process::id());
    let app = Router::new().route("/", get(|| async move { text }));
    axum::serve(listener, app).with_graceful_shutdown(worker.leaving()).await?;
    Ok(())
}
