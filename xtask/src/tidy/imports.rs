//! Do the crates keep to the table of imports?
//!
//! Normal and build dependencies count, optional ones too; dev-dependencies may look upward, for a test may use
//! whatever it likes.

use super::{
    finding::Finding,
    table::{FILE, Imports, Table},
};
use crate::workspace::{Import, Member, Need, Origin};

/// Everything in which the workspace differs from the table.
pub fn compare(table: &Table, members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in &table.rows {
        if !members.iter().any(|member| member.name == row.name) {
            let what = format!("the table names `{}`, and there is no such crate", row.name);
            findings.push(Finding::at(FILE, row.line, what, "take the row out, or create the crate"));
        }
    }
    for member in members {
        let manifest = format!("{}/Cargo.toml", member.folder);
        let Some(row) = table.row(&member.name) else {
            let what = format!("`{}` is not in the table of imports in {FILE}", member.name);
            findings.push(Finding::of(
                &manifest,
                what,
                "add its row, with the reason for what it may import",
            ));
            continue;
        };
        if row.folder != member.folder {
            let what = format!("`{}` lies in {}, the table says {}", row.name, member.folder, row.folder);
            findings.push(Finding::at(FILE, row.line, what, "correct the folder in the table"));
        }
        let edges = member.imports.iter().filter(|import| is_edge(import, members));
        for import in edges.filter(|import| !row.imports.allow(&import.name)) {
            let what = format!(
                "`{}` imports `{}`, and {FILE}:{} does not allow it",
                row.name, import.name, row.line
            );
            let cure =
                "remove the dependency, or add the edge and its reason to the table in the same commit";
            let line = line_of(&import.name, &member.manifest);
            findings.push(Finding { line, ..Finding::of(&manifest, what, cure) });
        }
    }
    findings
}

/// Whether a dependency is an edge between two rooms. A published crate that happens to be called like one is not.
fn is_edge(import: &Import, members: &[Member]) -> bool {
    import.need != Need::Dev
        && import.origin == Origin::Path
        && members.iter().any(|member| member.name == import.name)
}

impl Imports {
    fn allow(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|allowed| allowed == name),
            Self::Anything => true,
        }
    }
}

/// The line of a manifest, from 1, that names a dependency the crate itself needs.
fn line_of(name: &str, manifest: &str) -> Option<usize> {
    let mut section = "";
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
        }
        let wanted = section.contains("dependencies") && !section.contains("dev-dependencies");
        let key = line.split(['.', '=', ' ']).next().unwrap_or_default().trim_matches('"');
        let own_section = line.starts_with('[') && section.rsplit('.').next() == Some(name);
        if wanted && (key == name || own_section) {
            return Some(index + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests;
