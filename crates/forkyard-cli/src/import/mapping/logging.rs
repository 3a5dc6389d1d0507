//! Where lines go.

use std::path::Path;

use crate::import::Draft;
use crate::import::attributes::{Attributes, as_text};

/// Where lines are dropped.
const NOWHERE: [&str; 2] = ["/dev/null", "NULL"];

pub(super) fn logs(app: &mut Attributes, draft: &mut Draft) {
    if app.text("log_type").as_deref() == Some("json") {
        draft.set_in("log", "format", "json");
    }
    folder(app, draft);
    if app.flag("disable_logs") == Some(true) {
        draft.note("disable_logs", "lines are kept; they are rotated, and old ones removed");
    }
    if app.text("log_date_format").is_some() | (app.flag("time") == Some(true)) {
        draft.note("log_date_format", "every line has its time, in RFC 3339, and in UTC");
    }
    if app.take("log_file").is_some_and(|file| as_text(&file).is_some_and(|file| is_file(&file))) {
        let why = "there is no file for both streams; `forkyard logs` shows both in their order";
        draft.note("log_file", why);
    }
    if app.flag("merge_logs") == Some(false) {
        let why = "the workers of an app share their files; each line says whose it is";
        draft.note("merge_logs", why);
    }
}

/// Both files have to be in the same folder, where they get the names that they have here.
fn folder(app: &mut Attributes, draft: &mut Draft) {
    let files: Vec<_> =
        ["out_file", "error_file"].into_iter().filter_map(|name| app.text(name)).collect();
    if files.iter().any(|file| NOWHERE.contains(&&**file)) {
        draft.note("out_file", "lines are not dropped; they are rotated, and old ones removed");
        return;
    }
    let folders: Vec<_> = files.iter().map(|file| Path::new(file).parent()).collect();
    match folders.as_slice() {
        [] => {}
        [Some(folder)] | [Some(folder), Some(_)]
            if folders.windows(2).all(|pair| pair[0] == pair[1]) =>
        {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            draft.set_in("log", "dir", folder.to_string_lossy());
            draft.note("out_file", "in that folder the files are called out.log and err.log");
        }
        _ => draft.note("out_file", "both streams go to one folder; name it as `log.dir`"),
    }
}

fn is_file(told: &str) -> bool {
    !NOWHERE.contains(&told) && told != "false" && !told.is_empty()
}
