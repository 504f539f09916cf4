//! What counts as the table, and which tables make no sense.

use super::*;

const HEADER: &str = "\
# A map

| word | meaning |
|---|---|
| a | b |

| crate | folder | level | may import | reason |
|---|---|---|---|---|
";

fn parse(rows: &str) -> Result<Table, Vec<Finding>> {
    Table::parse(&format!("{HEADER}{rows}"))
}

#[track_caller]
fn only_fault(rows: &str) -> Finding {
    let mut findings = parse(rows).expect_err("the table is faulty");
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

#[test]
fn rows_are_read_with_and_without_backticks() {
    let table = parse(
        "| `core` | `crates/core` | 0 | nothing | words |\n\
         | store | crates/store | 1 | `core` | a port |\n\
         | file | stores/file | leaf | core, store | an engine |\n\
         | benches | benches | 6 | anything | measures |\n\
         \n\
         | other | table | here | not | read |\n",
    )
    .expect("a sound table");
    let names: Vec<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["core", "store", "file", "benches"]);
    let file = table.row("file").expect("there is such a row");
    assert_eq!(file.imports, Imports::Only(vec!["core".into(), "store".into()]));
    assert_eq!((file.folder.as_str(), file.level, file.line), ("stores/file", Level::Leaf, 11));
    assert_eq!(table.row("core").map(|row| &row.imports), Some(&Imports::Only(vec![])));
    assert_eq!(table.row("benches").map(|row| &row.imports), Some(&Imports::Anything));
}

#[test]
fn a_missing_or_second_table_is_a_fault() {
    let findings = Table::parse("# A map\n").expect_err("no table");
    assert!(findings.iter().any(|finding| finding.what.starts_with("0 tables")), "{findings:?}");
    let findings = Table::parse(&format!("{HEADER}\n{HEADER}")).expect_err("two tables");
    assert!(findings.iter().any(|finding| finding.what.starts_with("2 tables")), "{findings:?}");
}

#[test]
fn a_crate_may_not_import_a_sibling_or_one_above() {
    let rows =
        "| core | c | 0 | nothing | r |\n| bus | b | 1 | core, store | r |\n| store | s | 1 | core | r |\n";
    assert!(only_fault(rows).what.contains("`bus` may not stand above `store`"));
    let rows = "| core | c | 0 | bus | r |\n| bus | b | 1 | core | r |\n";
    assert!(only_fault(rows).what.contains("`core` may not stand above `bus`"));
    let rows = "| core | c | 0 | core | r |\n";
    assert!(only_fault(rows).what.contains("`core` may not stand above `core`"));
}

#[test]
fn on_the_top_floor_only_the_facade_may_be_imported_and_it_imports_no_neighbour() {
    parse("| tidings | f | 6 | nothing | r |\n| cli | a | 6 | tidings | r |\n").expect("through the facade");
    let rows =
        "| tidings | f | 6 | nothing | r |\n| cli | a | 6 | loans | r |\n| loans | l | 6 | tidings | r |\n";
    assert!(only_fault(rows).what.contains("`cli` may not stand above `loans`"));
    let rows = "| tidings | f | 6 | tidings | r |\n";
    assert!(only_fault(rows).what.contains("`tidings` may not stand above `tidings`"));
}

#[test]
fn a_leaf_imports_one_port_and_only_the_top_floor_imports_a_leaf() {
    let base = "| core | c | 0 | nothing | r |\n| store | s | 1 | core | r |\n| bus | b | 1 | core | r |\n";
    let rows = format!("{base}| file | x | leaf | core, store, bus | r |\n");
    assert!(only_fault(&rows).what.contains("is a leaf and may import 2 ports"));
    let rows = format!("{base}| file | x | leaf | store | r |\n| app | a | 4 | file | r |\n");
    assert!(only_fault(&rows).what.contains("`app` may not stand above `file`"));
    let rows = format!("{base}| file | x | leaf | store | r |\n| tidings | a | 6 | file | r |\n");
    parse(&rows).expect("the facade may name an engine");
    let rows = format!("{base}| file | x | leaf | durable | r |\n| durable | d | 2 | store | r |\n");
    assert!(only_fault(&rows).what.contains("`file` may not stand above `durable`"));
}

#[test]
fn unknown_names_levels_and_widths_double_rows_and_missing_reasons_are_faults_on_their_line() {
    let cases = [
        ("| core | c | 0 | nobody | r |\n", "which has no row"),
        ("| core | c | high | nothing | r |\n", "is not a level"),
        ("| core | c | 0 | nothing |\n", "4 columns"),
        ("| core | c | 0 | nothing | |\n", "gives no reason"),
    ];
    for (rows, part) in cases {
        let fault = only_fault(rows);
        assert!(fault.what.contains(part), "{fault}");
        assert_eq!((fault.file.as_str(), fault.line), (FILE, Some(9)));
    }
    let double = only_fault("| core | c | 0 | nothing | r |\n| core | c | 0 | nothing | r |\n");
    assert_eq!((double.line, double.what.as_str()), (Some(10), "`core` has two rows"));
}
