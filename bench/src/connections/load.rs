//! Load by `wrk`: one new connection per request, as many as are answered.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How many threads wrk uses. On small machines more would only take cores away from what
/// is measured.
const THREADS: u16 = 2;

/// One run of wrk.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) url: String,
    pub(crate) connections: u16,
    pub(crate) duration: Duration,
}

/// What wrk counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Requests that were answered; each on a connection of its own.
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    /// The time within which 99 of 100 requests were answered.
    pub(crate) latency_p99: Duration,
    pub(crate) errors: Errors,
}

/// What went wrong, in wrk's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errors {
    pub(crate) connect: u64,
    pub(crate) read: u64,
    pub(crate) write: u64,
    pub(crate) timeout: u64,
    /// Answers that were not 2xx or 3xx.
    pub(crate) status: u64,
}

impl Errors {
    pub(crate) fn total(&self) -> u64 {
        self.connect + self.read + self.write + self.timeout + self.status
    }
}

impl Load {
    /// Runs to the end.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let output = Command::new("wrk")
            .arg(format!("-t{}", THREADS.min(self.connections)))
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", self.duration.as_secs()))
            .args(["--latency", "-H", "Connection: close"])
            .arg(&self.url)
            .output()
            .context("failed to run wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "wrk failed: {}{complaint}", text);
        let outcome = parse(&text)?;
        ensure!(outcome.requests > 0, "wrk got no answer:\n{text}");
        Ok(outcome)
    }
}

/// Reads what wrk prints (`main` and `print_stats_latency` in its `src/wrk.c`).
fn parse(text: &str) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut rate = None;
    for line in text.lines().map(str::trim) {
        if let Some((count, _)) = line.split_once(" requests in ") {
            outcome.requests = count.parse().context("failed to read the count of requests")?;
        } else if let Some(value) = line.strip_prefix("Requests/sec:") {
            rate = Some(value.trim().parse().context("failed to read the requests a second")?);
        } else if let Some(value) = line.strip_prefix("99%") {
            outcome.latency_p99 = parse_time(value.trim())?;
        } else if let Some(counts) = line.strip_prefix("Socket errors:") {
            outcome.errors = parse_errors(counts, outcome.errors)?;
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            outcome.errors.status = count.trim().parse()?;
        }
    }
    let Some(rate) = rate else { bail!("wrk printed no requests a second:\n{text}") };
    Ok(Outcome { requests_per_second: rate, ..outcome })
}

fn parse_errors(text: &str, mut errors: Errors) -> Result<Errors> {
    for part in text.split(',') {
        let (name, count) = part.trim().split_once(' ').context("failed to read wrk's errors")?;
        let count = count.trim().parse().with_context(|| format!("failed to read {part:?}"))?;
        match name {
            "connect" => errors.connect = count,
            "read" => errors.read = count,
            "write" => errors.write = count,
            "timeout" => errors.timeout = count,
            other => bail!("wrk counts errors of a new kind: {other}"),
        }
    }
    Ok(errors)
}

/// Reads a time with wrk's units (`format_time_us` in its `src/units.c`).
fn parse_time(text: &str) -> Result<Duration> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let read = |(unit, seconds): &(&str, f64)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    };
    units.iter().find_map(read).with_context(|| format!("failed to read the time {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
Running 5s test @ http://127.0.0.1:18000/
  2 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.49ms    1.11ms  25.17ms   89.20%
    Req/Sec     4.71k   503.80     5.66k    73.00%
  Latency Distribution
     50%    2.31ms
     75%    2.78ms
     90%    3.46ms
     99%  840.00us
  46931 requests in 5.01s, 6.18MB read
Requests/sec:   9367.61
Transfer/sec:      1.23MB
";

    #[test]
    fn a_run_without_errors() {
        let expected = Outcome {
            requests: 46931,
            requests_per_second: 9367.61,
            latency_p99: Duration::from_micros(840),
            errors: Errors::default(),
        };
        assert_eq!(parse(GOOD).unwrap(), expected);
    }

    #[test]
    fn errors_are_counted_by_kind() {
        let text = GOOD.replace(
            "Requests/sec",
            "  Socket errors: connect 1, read 20, write 3, timeout 4\n  \
             Non-2xx or 3xx responses: 5\nRequests/sec",
        );
        let errors = parse(&text).unwrap().errors;
        assert_eq!(errors, Errors { connect: 1, read: 20, write: 3, timeout: 4, status: 5 });
        assert_eq!(errors.total(), 33);
    }

    #[test]
    fn what_is_no_result_is_an_error() {
        assert!(parse("unable to connect to 127.0.0.1:1 Connection refused\n").is_err());
        assert!(parse(&GOOD.replace("9367.61", "nan?")).is_err());
        assert!(parse_errors(" connect 1, odd 2", Errors::default()).is_err());
    }

    #[test]
    fn times_have_units() {
        let times =
            [("1.50ms", 1500), ("12.00us", 12), ("2.00s", 2_000_000), ("1.00m", 60_000_000)];
        for (text, us) in times {
            assert_eq!(parse_time(text).unwrap(), Duration::from_micros(us), "{text}");
        }
        assert!(parse_time("12").is_err());
        assert!(parse_time("-1s").is_err());
    }
}
