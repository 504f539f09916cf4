//! Runs the benchmark jobs and writes the report.
//!
//! A job is a binary of the crate in [`CRATE`]. It is handed a path in [`OUT`] and writes one JSON object a line to it
//! (see [`results`]). The lines of a job that succeeded are kept in [`RESULTS`] under the machine they were taken on,
//! and [`REPORT`] is made from all that is kept there, by a pure function: it can be made again at any time and the
//! house rules check that the committed page is the one the committed results give.

mod figures;
mod machine;
mod report;
mod results;

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, bail, ensure};

use self::{machine::Machine, results::Results};
use crate::{Verdict, process, workspace::Workspace};

/// The crate whose binaries are the jobs.
const CRATE: &str = "tidings-benches";

/// The variable that tells a job where to write.
const OUT: &str = "TIDINGS_BENCH_OUT";

/// Where the raw lines are kept.
const RESULTS: &str = "benches/results";

/// The page made from them.
pub const REPORT: &str = "docs/benchmarks.md";

/// Prints the names of the jobs.
pub fn list(root: &Path) -> Result<Verdict> {
    for job in jobs(&Workspace::load(root)?) {
        println!("{job}");
    }
    Ok(Verdict::Good)
}

/// Runs the named jobs, or all of them, one after another; then writes the report. A job that fails leaves its earlier
/// results as they were.
pub fn run(root: &Path, names: &[&str]) -> Result<Verdict> {
    let workspace = Workspace::load(root)?;
    let chosen = choose(&jobs(&workspace), names)?;
    let machine = Machine::this();
    let mut failed = 0_usize;
    for (index, job) in chosen.iter().enumerate() {
        println!("[{}/{}] {job}", index + 1, chosen.len());
        let started = Instant::now();
        match run_job(root, &workspace.target, job, &machine) {
            Ok(lines) => println!("      {lines} lines in {:.1} s", started.elapsed().as_secs_f64()),
            Err(error) => {
                failed += 1;
                println!("      failed after {:.1} s: {error:#}", started.elapsed().as_secs_f64());
            }
        }
    }
    if failed < chosen.len() {
        report_only(root)?;
    }
    println!("{} jobs ran, {failed} failed", chosen.len());
    Ok(Verdict::good_if(failed == 0))
}

/// Writes the report from the results kept in the repository.
pub fn report_only(root: &Path) -> Result<Verdict> {
    let kept = kept(root)?;
    let page = root.join(REPORT);
    if let Some(folder) = page.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&page, report::render(&kept)).with_context(|| format!("cannot write {REPORT}"))?;
    println!("wrote {REPORT}");
    Ok(Verdict::Good)
}

/// Whether the committed page is the one that the kept results give.
pub fn report_is_current(root: &Path) -> Result<bool> {
    let kept = kept(root)?;
    let page = root.join(REPORT);
    let nothing_claimed = kept.is_empty() && !page.exists();
    Ok(nothing_claimed || fs::read_to_string(page).is_ok_and(|text| text == report::render(&kept)))
}

fn jobs(workspace: &Workspace) -> Vec<String> {
    let benches = workspace.members.iter().filter(|member| member.name == CRATE);
    benches.flat_map(|member| member.binaries.clone()).collect()
}

fn choose(jobs: &[String], names: &[&str]) -> Result<Vec<String>> {
    ensure!(!jobs.is_empty(), "{CRATE} has no binaries, so there is no job to run");
    if let Some(name) = names.iter().find(|name| !jobs.iter().any(|job| job == *name)) {
        bail!("no job is called `{name}`; there are: {}", jobs.join(", "));
    }
    Ok(jobs.iter().filter(|job| names.is_empty() || names.contains(&job.as_str())).cloned().collect())
}

fn run_job(root: &Path, target: &Path, job: &str, machine: &Machine) -> Result<usize> {
    let out = target.join("bench").join(format!("{job}.jsonl"));
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder)?;
    }
    // A job may append; what an earlier run left must not be taken for its own.
    fs::write(&out, "").with_context(|| format!("cannot write {}", out.display()))?;
    let status = process::run(
        process::cargo(root, &["run", "--release", "--quiet", "--package", CRATE, "--bin", job])
            .env(OUT, &out),
    )?;
    ensure!(status.success(), "{status}");
    let text = fs::read_to_string(&out)?;
    let results = Results::parse(job, &text).with_context(|| format!("in {}", out.display()))?;
    ensure!(!results.lines.is_empty(), "it wrote nothing to {OUT}");
    let folder = root.join(RESULTS);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{job}.jsonl")), format!("{}\n{}\n", machine.line(), text.trim_end()))?;
    Ok(results.lines.len())
}

/// The results kept in the repository, by the names of their jobs.
fn kept(root: &Path) -> Result<Vec<Results>> {
    let folder = root.join(RESULTS);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".jsonl").map(str::to_owned));
    }
    names.sort();
    let read = |name: &String| {
        let file = format!("{name}.jsonl");
        let text = fs::read_to_string(folder.join(&file)).with_context(|| format!("cannot read {file}"))?;
        Results::parse(name, &text).with_context(|| format!("in {RESULTS}/{file}"))
    };
    names.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const LINE: &str = r#"{"job":"emit","subject":"s","peer":"p","unit":"ns","min":1,"median":2,"max":3}"#;

    #[test]
    fn without_names_all_jobs_run_and_an_unknown_name_is_refused_with_those_there_are() {
        let jobs = ["emit", "append"].map(str::to_owned);
        assert_eq!(choose(&jobs, &[]).expect("all"), jobs);
        assert_eq!(choose(&jobs, &["append"]).expect("one"), ["append"]);
        let error = choose(&jobs, &["apend"]).expect_err("no such job").to_string();
        assert!(error.contains("`apend`") && error.contains("emit, append"), "{error}");
        assert!(choose(&[], &[]).is_err());
    }

    #[test]
    fn the_page_is_current_only_while_it_says_what_the_results_say() {
        let root = tempfile::tempdir().expect("a temporary folder");
        assert!(report_is_current(root.path()).expect("nothing measured, nothing claimed"));
        fs::create_dir_all(root.path().join("docs")).expect("made");
        fs::write(root.path().join(REPORT), "# Very fast\n").expect("written");
        assert!(!report_is_current(root.path()).expect("nothing measured, something claimed"));
        fs::create_dir_all(root.path().join(RESULTS)).expect("made");
        fs::write(root.path().join(RESULTS).join("emit.jsonl"), LINE).expect("written");
        assert!(!report_is_current(root.path()).expect("measured, not yet written down"));
        report_only(root.path()).expect("written");
        assert!(report_is_current(root.path()).expect("as measured"));
        let better = LINE.replace("\"median\":2", "\"median\":1");
        fs::write(root.path().join(RESULTS).join("emit.jsonl"), better).expect("written");
        assert!(!report_is_current(root.path()).expect("measured anew"));
    }

    /// A job that writes one line, or none if it is told to fail by the presence of a file.
    const JOB: &str = r##"
        fn main() {
            let line = r#"LINE"#;
            std::fs::write(std::env::var("TIDINGS_BENCH_OUT").unwrap(), line).unwrap();
            assert!(!std::path::Path::new("fail").exists());
        }
    "##;

    #[test]
    fn a_job_that_succeeds_is_kept_and_reported_and_one_that_fails_changes_nothing() {
        let scratch = Scratch::new();
        let code = |median: &str| JOB.replace("LINE", &LINE.replace("\"median\":2", median));
        scratch.package(CRATE, "", "src/bin/emit.rs", &code("\"median\":7"));
        assert_eq!(run(scratch.root(), &[]).expect("runs"), Verdict::Good);
        let page = fs::read_to_string(scratch.root().join(REPORT)).expect("written");
        assert!(page.contains("| p | 7.00 | 1.00 – 3.00 | ns |") && page.contains("rustc 1."), "{page}");

        scratch.write("fail", "");
        scratch.package(CRATE, "", "src/bin/emit.rs", &code("\"median\":8"));
        assert_eq!(run(scratch.root(), &["emit"]).expect("runs"), Verdict::Bad);
        assert_eq!(fs::read_to_string(scratch.root().join(REPORT)).expect("still there"), page);
        assert!(report_is_current(scratch.root()).expect("as kept"));
    }
}
