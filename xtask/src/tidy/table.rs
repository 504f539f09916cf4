//! The table of imports in ARCHITECTURE.md: which crates there are, where, and what each may import.
//!
//! The table is the one whose header row has exactly the columns of [`COLUMNS`]. What it says is checked for sense
//! here (every name known, every edge downwards); whether the crates keep to it is [`super::imports`].

use super::finding::Finding;

/// The file that holds the table.
pub const FILE: &str = "ARCHITECTURE.md";

/// The header that marks the table.
pub const COLUMNS: [&str; 5] = ["crate", "folder", "level", "may import", "reason"];

/// The only crate that others of its own level may import.
const FACADE: &str = "tidings";

/// The table, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// One row a crate.
    pub rows: Vec<Row>,
}

/// What the table says of one crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The package name.
    pub name: String,
    /// Its folder, relative to the root.
    pub folder: String,
    /// How high it stands.
    pub level: Level,
    /// Its allowed imports.
    pub imports: Imports,
    /// The line of the row in the file, from 1.
    pub line: usize,
}

/// How high a crate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A numbered floor, 0 at the bottom.
    Floor(u8),
    /// An engine or transport: core, one port, its driver.
    Leaf,
}

/// The imports a row allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imports {
    /// These crates and no other; may be empty.
    Only(Vec<String>),
    /// Every crate of the table.
    Anything,
}

impl Table {
    /// Reads the table out of the text of ARCHITECTURE.md and checks that it makes sense by itself.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        let lines: Vec<(usize, Vec<&str>)> =
            text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, cells(line)?))).collect();
        let headers: Vec<usize> = (0..lines.len())
            .filter(|&at| lines.get(at).is_some_and(|(_, cells)| *cells == COLUMNS))
            .collect();
        let &[header] = headers.as_slice() else {
            let what =
                format!("{} tables with the header `{}`, wanted one", headers.len(), COLUMNS.join(" | "));
            return Err(vec![Finding::of(FILE, what, "keep exactly one table of imports")]);
        };
        let mut rows = Vec::new();
        let mut findings = Vec::new();
        let mut expected = lines.get(header).map_or(0, |(number, _)| *number);
        for (number, cells) in lines.iter().skip(header + 1) {
            expected += 1;
            if *number != expected {
                break;
            }
            if cells.iter().all(|cell| cell.chars().all(|letter| "-: ".contains(letter))) {
                continue;
            }
            match Row::parse(*number, cells) {
                Ok(row) => rows.push(row),
                Err(finding) => findings.push(finding),
            }
        }
        let table = Self { rows };
        findings.extend(table.faults());
        if findings.is_empty() { Ok(table) } else { Err(findings) }
    }

    /// The row of a crate.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    fn faults(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            if self.rows.iter().take(index).any(|earlier| earlier.name == row.name) {
                let what = format!("`{}` has two rows", row.name);
                findings.push(Finding::at(FILE, row.line, what, "keep one row a crate"));
            }
            let Imports::Only(names) = &row.imports else { continue };
            let imported: Vec<&Row> = names.iter().filter_map(|name| self.row(name)).collect();
            for name in names.iter().filter(|name| self.row(name).is_none()) {
                let what = format!("`{}` may import `{name}`, which has no row", row.name);
                findings.push(Finding::at(FILE, row.line, what, "correct the name or add the crate's row"));
            }
            for other in &imported {
                if !row.stands_above(other) {
                    let what = format!(
                        "`{}` may not stand above `{}`: an edge goes to a lower level",
                        row.name, other.name
                    );
                    let cure = "take the edge out, or move what is needed to a lower level";
                    findings.push(Finding::at(FILE, row.line, what, cure));
                }
            }
            let ports = imported.iter().filter(|other| other.level == Level::Floor(1)).count();
            if row.level == Level::Leaf && ports > 1 {
                let what = format!("`{}` is a leaf and may import {ports} ports", row.name);
                findings.push(Finding::at(
                    FILE,
                    row.line,
                    what,
                    "a leaf implements one port: split the crate",
                ));
            }
        }
        findings
    }
}

impl Row {
    fn parse(line: usize, cells: &[&str]) -> Result<Self, Finding> {
        let &[name, folder, level, imports, reason] = cells else {
            let what = format!("{} columns, wanted {}", cells.len(), COLUMNS.len());
            return Err(Finding::at(FILE, line, what, format!("write `{}`", COLUMNS.join(" | "))));
        };
        if reason.is_empty() {
            let what = format!("`{}` gives no reason", bare(name));
            return Err(Finding::at(FILE, line, what, "say why the crate needs what it may import"));
        }
        let level = match (level, level.parse()) {
            ("leaf", _) => Level::Leaf,
            (_, Ok(floor)) => Level::Floor(floor),
            _ => {
                let what = format!("`{level}` is not a level");
                return Err(Finding::at(
                    FILE,
                    line,
                    what,
                    "write a number, or `leaf` for an engine or transport",
                ));
            }
        };
        let imports = match imports {
            "anything" => Imports::Anything,
            "nothing" => Imports::Only(Vec::new()),
            names => Imports::Only(names.split(',').map(|name| bare(name).to_owned()).collect()),
        };
        Ok(Self { name: bare(name).to_owned(), folder: bare(folder).to_owned(), level, imports, line })
    }

    fn stands_above(&self, other: &Self) -> bool {
        let facade_below = other.name == FACADE && self.name != FACADE && self.level == other.level;
        facade_below || other.level.top() < self.level.bottom()
    }
}

impl Level {
    /// The lowest floor this level touches, seen from what it imports: a leaf may use floors 0 and 1.
    fn bottom(self) -> u8 {
        match self {
            Self::Floor(floor) => floor,
            Self::Leaf => 2,
        }
    }

    /// The highest floor this level touches, seen from who imports it: only floor 6 may use a leaf.
    fn top(self) -> u8 {
        match self {
            Self::Floor(floor) => floor,
            Self::Leaf => 5,
        }
    }
}

/// The cells of a table row, or nothing if the line is none.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn bare(cell: &str) -> &str {
    cell.trim().trim_matches('`')
}

#[cfg(test)]
mod tests;
