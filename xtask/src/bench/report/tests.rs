//! What the page says, word for word where it matters.

use super::*;
use crate::bench::machine::Machine;

fn machine(cores: usize) -> Machine {
    Machine { cores, cpu: "Some CPU".into(), kernel: "6.1.0".into(), rustc: "rustc 1.95.0".into() }
}

fn results(job: &str, cores: usize, lines: &[&str]) -> Results {
    let fields = |line: &&str| format!("{{\"job\":\"{job}\",{line}}}\n");
    let text = format!("{}\n{}", machine(cores).line(), lines.iter().map(fields).collect::<String>());
    Results::parse(job, &text).expect("a sound line")
}

fn body(page: &str) -> &str {
    page.strip_prefix(INTRODUCTION).expect("every page begins with how to read it")
}

const OURS: &str = r#""subject":"16 appenders","peer":"tidings-sqlite","unit":"events/s","min":30100,"median":32040.4,"max":33000,"ratio":1.72,"goal":"≥ 1.6","verdict":"met","guarantees":{"durable":"yes","ids":"yes"}"#;
const PEER: &str = r#""subject":"16 appenders","peer":"redis","unit":"events/s","min":1,"median":2,"max":3,"note":"no order\na key, | none","guarantees":{"durable":"no","order":"none"}"#;
const OTHER: &str = r#""subject":"replay","peer":"tidings-sqlite","unit":"M/s","min":0.5,"median":0.5,"max":0.5,"rounds":[0.5]"#;

#[test]
fn a_job_is_a_section_a_subject_a_table_and_a_note_stands_below() {
    let page = render(&[results("append", 2, &[OURS, OTHER, PEER])]);
    let expected = "
Machine: 2 cores of Some CPU, Linux 6.1.0, rustc 1.95.0.

## append

### 16 appenders

| peer | median | min – max | unit | ratio | goal | verdict | durable | ids | order |
| --- | ---: | ---: | --- | ---: | --- | --- | --- | --- | --- |
| tidings-sqlite | 32,040 | 30,100 – 33,000 | events/s | 1.72 | ≥ 1.6 | met | yes | yes |  |
| redis | 2.00 | 1.00 – 3.00 | events/s |  |  |  | no |  | none |

- redis: no order a key, \\| none

### replay

| peer | median | min – max | unit | ratio | goal | verdict |
| --- | ---: | ---: | --- | ---: | --- | --- |
| tidings-sqlite | 0.500 | 0.500 – 0.500 | M/s |  |  |  |
";
    assert_eq!(body(&page), expected);
}

#[test]
fn jobs_taken_on_different_machines_each_name_theirs() {
    let page = render(&[results("append", 2, &[OURS]), results("emit", 1, &[OTHER])]);
    assert!(body(&page).starts_with("\n## append\n\nMachine: 2 cores of Some CPU"), "{page}");
    assert!(page.contains("\n## emit\n\nMachine: 1 core of Some CPU"), "{page}");
}

#[test]
fn fields_of_an_unexpected_kind_are_shown_and_break_nothing() {
    let odd = r#""subject":"s","peer":"p","unit":"u","min":1,"median":1,"max":1,"ratio":"1.2 ×","goal":1.5,"verdict":true,"note":null,"guarantees":"all""#;
    let page = render(&[results("odd", 2, &[odd])]);
    assert!(page.contains("| p | 1.00 | 1.00 – 1.00 | u | 1.2 × | 1.50 | yes |\n"), "{page}");
}

#[test]
fn a_job_without_lines_is_an_empty_section() {
    assert!(render(&[results("idle", 2, &[])]).ends_with("\n## idle\n"));
}

#[test]
fn without_results_the_page_says_so() {
    assert_eq!(body(&render(&[])), "\nNothing has been measured yet.\n");
}
