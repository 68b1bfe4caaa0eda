//! `seqcast doctor`

mod expected;
mod host;
mod relay;
mod segment;

use serde_json::{Value, json};

use seqcast::inspect::{self, Listed, adopt_dead, unlink_unheld};

use crate::args::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Tone, printable};
use crate::post;
use crate::units::count_of;

/// A problem, or a note.
pub struct Finding {
    /// A short, stable name.
    pub code: &'static str,
    pub level: Level,
    /// The segment's name, or `/dev/shm`, or `host`.
    pub subject: String,
    pub what: String,
    pub remedy: String,
    pub cure: Cure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Trouble,
    Note,
}

/// A possible repair by `--fix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// None that is proven safe.
    None,
    /// Free the seats of dead holders.
    AdoptDead,
    /// Remove the segment if no process can write to it.
    Unlink,
    Done(String),
    Failed(String),
}

impl Finding {
    pub fn trouble(code: &'static str, subject: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        let (what, remedy) = (what.into(), remedy.into());
        Finding { code, level: Level::Trouble, subject: subject.to_owned(), what, remedy, cure: Cure::None }
    }

    pub fn note(code: &'static str, subject: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Note, ..Finding::trouble(code, subject, what, remedy) }
    }

    pub fn with_cure(self, cure: Cure) -> Finding {
        Finding { cure, ..self }
    }

    fn is_open_trouble(&self) -> bool {
        self.level == Level::Trouble && !matches!(self.cure, Cure::Done(_))
    }
}

pub fn run(args: &DoctorArgs, output: &mut Output) -> Result<Exit, Failure> {
    let segments = match &args.name {
        None => inspect::list()?,
        Some(name) => vec![Listed::named(name)?],
    };
    let mut findings = host::findings(&segments);
    for listed in &segments {
        findings.extend(segment::findings(listed));
        findings.extend(expected::findings(listed, &args.expected)?);
    }
    let looked_at = segments.len();
    let unreadable = args.name.is_some() && segments.iter().any(|listed| listed.opened.is_err());
    // Our own handle must not be among those that have it open.
    drop(segments);
    if args.fix {
        for finding in &mut findings {
            fix(finding, args);
        }
    }
    report(&findings, looked_at, args.fix, output)?;
    Ok(if !findings.iter().any(Finding::is_open_trouble) {
        Exit::Fine
    } else if unreadable {
        Exit::CannotOpen
    } else {
        Exit::Trouble
    })
}

fn fix(finding: &mut Finding, args: &DoctorArgs) {
    let cured = match &finding.cure {
        Cure::AdoptDead => post::options(&finding.subject, &args.joining)
            .and_then(|options| Ok(adopt_dead(&finding.subject, &options)?))
            .map(|freed| match freed.as_slice() {
                [] => Cure::Failed("left to the next worker that joins, because no other seat is free".into()),
                freed => Cure::Done(format!("freed {}", count_of(freed.len(), "seat"))),
            }),
        Cure::Unlink => match unlink_unheld(&finding.subject) {
            Ok(true) => Ok(Cure::Done("removed".into())),
            Ok(false) => Ok(Cure::Failed("not removed: a process has it open for writing".into())),
            Err(error) => Err(error.into()),
        },
        Cure::None | Cure::Done(_) | Cure::Failed(_) => return,
    };
    finding.cure = cured.unwrap_or_else(|failure| Cure::Failed(failure.to_string()));
}

fn report(findings: &[Finding], looked_at: usize, fixing: bool, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let findings: Vec<Value> = findings.iter().map(|finding| to_json(finding, fixing)).collect();
        return output.json(&json!({ "segments": looked_at, "findings": findings }));
    }
    for finding in findings {
        let level = match (&finding.cure, finding.level) {
            (Cure::Done(_), _) => output.toned(Tone::Good, "fixed  "),
            (_, Level::Trouble) => output.toned(Tone::Bad, "trouble"),
            (_, Level::Note) => output.toned(Tone::Warning, "note   "),
        };
        output.line(format_args!(
            "{level} {} {}: {}",
            finding.code,
            printable(&finding.subject),
            printable(&finding.what)
        ))?;
        match &finding.cure {
            Cure::Done(done) => output.line(format_args!("        --fix: {}", printable(done)))?,
            Cure::Failed(why) => {
                output.line(format_args!("        --fix: {}", printable(why)))?;
                output.line(format_args!("        remedy: {}", printable(&finding.remedy)))?;
            }
            _ => output.line(format_args!("        remedy: {}", printable(&finding.remedy)))?,
        }
    }
    if findings.is_empty() {
        output.line(format_args!("nothing wrong found with {} and /dev/shm", count_of(looked_at, "segment")))?;
    }
    Ok(())
}

fn to_json(finding: &Finding, fixing: bool) -> Value {
    let (fixed, fix) = match &finding.cure {
        Cure::Done(done) => (json!(true), Some(done)),
        Cure::Failed(why) => (json!(false), Some(why)),
        Cure::None if fixing => (json!(false), None),
        _ => (Value::Null, None),
    };
    json!({
        "code": finding.code,
        "level": match finding.level { Level::Trouble => "trouble", Level::Note => "note" },
        "subject": finding.subject,
        "what": finding.what,
        "remedy": finding.remedy,
        "fixable": !matches!(finding.cure, Cure::None),
        "fixed": fixed,
        "fix": fix,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_whether_it_was_fixed() {
        let trouble = |cure: Cure| Finding::trouble("stale", "/a", "what", "remedy").with_cure(cure);
        let failed = Cure::Failed("in use".to_owned());
        // A cure, and what the output says of it without and with --fix: fixed, fix, fixable.
        for (cure, fixing, fixed, fix, fixable) in [
            (Cure::None, false, Value::Null, Value::Null, false),
            (Cure::None, true, json!(false), Value::Null, false),
            (Cure::Unlink, false, Value::Null, Value::Null, true),
            (Cure::Done("removed".to_owned()), true, json!(true), json!("removed"), true),
            (failed.clone(), true, json!(false), json!("in use"), true),
        ] {
            let json = to_json(&trouble(cure.clone()), fixing);
            assert_eq!((&json["fixed"], &json["fix"], &json["fixable"]), (&fixed, &fix, &json!(fixable)), "{cure:?}");
        }
        assert_eq!(to_json(&trouble(Cure::None), false)["level"], "trouble");
        let note = Finding::note("slow", "/a", "what", "remedy");
        assert_eq!(to_json(&note, false)["level"], "note");
        // Only problems that remain affect the exit code.
        assert!(trouble(Cure::None).is_open_trouble() && trouble(failed).is_open_trouble());
        assert!(!note.is_open_trouble() && !trouble(Cure::Done("removed".to_owned())).is_open_trouble());
    }
}
