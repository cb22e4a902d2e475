//! `check`: whether everything is as the pipelines need it, without changing anything.

mod resolved;

pub(super) use resolved::{mapping, quoted};

use futures_util::future::join_all;
use serde::Serialize;

use super::escape::escape_lines;
use super::exit::{CliError, Exit};
use super::output::Out;
use crate::checks::{self, Finding, Level, Report};
use crate::config::Config;
use crate::guarantee::Assessment;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask no server: the config alone
    #[arg(long)]
    offline: bool,
    /// Print the config as it is after defaults, environment and files, without secrets, and check nothing
    #[arg(long)]
    print_config: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    /// `None`: about all of them together.
    pipeline: Option<&'a str>,
    #[serde(flatten)]
    finding: &'a Finding,
}

#[derive(Serialize)]
struct Guarantee<'a> {
    pipeline: &'a str,
    check: &'static str,
    exactly_once_effect: bool,
    guarantee: &'a str,
    gaps: Vec<&'a str>,
    assumed: &'a [String],
    stronger: &'a [String],
}

/// Looks at everything and says all of it.
pub(super) async fn execute(config: &Config, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    if args.print_config {
        out.line(resolved::print(config).trim_end());
        return Ok(Exit::Done);
    }
    let reports = join_all(config.pipelines.values().map(|pipeline| checks::pipeline(config, pipeline, args.offline)));
    let reports = reports.await;
    let memory = checks::memory(config, telemetry::memory_limit(), telemetry::machine_memory());
    for report in &reports {
        print(report, out);
    }
    if out.json {
        out.object(&Line { pipeline: None, finding: &memory });
    } else {
        out.line("this process");
        finding(&memory, out);
    }
    for report in &reports {
        guarantee(&report.pipeline, &report.guarantee, out);
    }
    let levels: Vec<Level> = reports.iter().flat_map(|report| &report.findings).map(|finding| finding.level).collect();
    let count = |level| levels.iter().filter(|found| **found == level).count();
    let (wrong, unreachable) = (count(Level::Wrong), count(Level::Unreachable));
    if !out.json {
        let warnings = count(Level::Warning) + usize::from(memory.level == Level::Warning);
        let unknown = count(Level::Unknown);
        out.line(&format!("{wrong} wrong, {unreachable} not reachable, {warnings} to look at, {unknown} not known"));
    }
    Ok(match (wrong, unreachable) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Unreachable,
        _ => Exit::Wrong,
    })
}

fn print(report: &Report, out: &mut Out) {
    if !out.json {
        out.line(&format!("pipeline {}", report.pipeline));
    }
    for found in &report.findings {
        if out.json {
            out.object(&Line { pipeline: Some(&report.pipeline), finding: found });
        } else {
            finding(found, out);
        }
    }
}

fn finding(finding: &Finding, out: &mut Out) {
    let indented = |text: &str| escape_lines(text).replace('\n', "\n      ");
    out.line(&format!("  {} {}: {}", finding.level.mark(), finding.check, indented(&finding.text)));
    if let Some(todo) = &finding.todo {
        out.line(&format!("    → {}", indented(todo)));
    }
    if let Some(mend) = &finding.mend {
        out.line(&format!("      {}", indented(mend)));
    }
}

fn guarantee(pipeline: &str, assessment: &Assessment, out: &mut Out) {
    if out.json {
        return out.object(&Guarantee {
            pipeline,
            check: "guarantee",
            exactly_once_effect: assessment.exactly_once,
            guarantee: &assessment.line,
            gaps: assessment.gaps.iter().map(|gap| gap.what.as_str()).collect(),
            assumed: &assessment.assumed,
            stronger: &assessment.stronger,
        });
    }
    out.line(&format!("guarantee of {pipeline}"));
    out.line(&format!("  {}", escape_lines(&assessment.line)));
    for gap in &assessment.gaps {
        out.line(&format!("  ! {}", escape_lines(&gap.what)));
    }
    for assumed in &assessment.assumed {
        out.line(&format!("  ? assumed: {assumed}"));
    }
    for stronger in &assessment.stronger {
        out.line(&format!("  → stronger: {}", escape_lines(stronger)));
    }
}
