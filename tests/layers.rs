//! Imports in `src` point one way: none runs up from one layer to another, and no files import each other in a circle.
//!
//! An import is a path that leads into another file of this crate, in a `use` line or in the code. It counts for the file
//! that defines what is named: a name that a `mod.rs` passes on is followed to where it comes from. Declarations
//! (`mod x;`) and names that are only passed on (`pub use`, and not used beside that) are no imports, and tests
//! (`#[cfg(test)]`) are left out.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "layers/graph.rs"]
mod graph;
#[path = "layers/imports.rs"]
mod imports;
#[path = "layers/source.rs"]
mod source;

use std::{fmt::Write as _, path::Path};

use self::{
    graph::circles,
    imports::{Crate, Import},
};

/// Each layer, and the other ones that it may know.
const LAYERS: [(&str, &[&str]); 8] = [
    ("defrag", &[]),
    ("runtime", &[]),
    ("admission", &["defrag", "runtime"]),
    ("controller", &["defrag", "runtime"]),
    ("engine", &["defrag", "runtime"]),
    ("cli", &["admission", "controller", "defrag", "engine", "runtime"]),
    ("lib.rs", &[]),
    ("main.rs", &["cli"]),
];

#[test]
fn imports_point_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let Crate { files, imports } = imports::read(&src);
    println!("{} files, {} imports between them", files.len(), imports.len());
    assert!(files.len() > 100 && imports.len() > 300, "the reader of imports misses most of them");

    let mut offenders = String::new();
    for import in imports.iter().filter(|import| runs_up(import)) {
        let _ = writeln!(offenders, "up: {import}");
    }
    for circle in circles(&imports) {
        let _ = writeln!(offenders, "circle:");
        for import in circle {
            let _ = writeln!(offenders, "    {import}");
        }
    }
    assert!(offenders.is_empty(), "what is needed on both sides belongs below both:\n{offenders}");
}

/// Whether `import` leads to a layer that its file does not know.
fn runs_up(import: &Import) -> bool {
    let (from, to) = (layer(&import.from), layer(&import.to));
    let known = LAYERS.iter().find(|(name, _)| *name == from).map(|(_, known)| *known);
    from != to && !known.unwrap_or_default().contains(&to)
}

/// The layer of a file: the first folder of its path, else its name.
fn layer(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}

#[test]
fn each_file_belongs_to_a_layer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in imports::read(&src).files {
        assert!(LAYERS.iter().any(|(name, _)| *name == layer(&file)), "{file} belongs to no layer");
    }
}

#[test]
fn imports_of_every_form_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod defrag; pub mod runtime;");
    write("main.rs", "fn main() { layers_example::defrag::a::run() }");
    write(
        "defrag/mod.rs",
        "mod a; mod b; mod c; pub use b::Passed; pub use b::Used; fn top() -> Used {} use self::c as renamed; const TOP: u8 = 1;\n#[cfg(test)] mod tests;",
    );
    write(
        "defrag/a.rs",
        r##"//! use crate::runtime::comment;
            use super::{Passed, c::{self, Inner as _}};
            /* use crate::runtime::clock; /* nested */ */
            pub(in crate::defrag) const TEXT: &str = r#"use crate::runtime::text;"#;
            fn a<'a>(x: &'a str) -> char { c::call(); super::renamed::call(); '"' }
            fn b() -> Passed { crate::runtime::clock::now(); Vec::<u8>::new() }
            #[cfg(test)] mod tests { use crate::runtime::tested; }"##,
    );
    write("defrag/b.rs", "pub struct Passed; pub struct Used; fn b() -> u8 { super::TOP }");
    write("defrag/c.rs", "use crate::defrag::a; pub struct Inner;");
    write("defrag/tests.rs", "use crate::runtime::clock;");
    write("runtime/mod.rs", "pub mod clock; pub use self::inner::*; mod inner { pub use std::time::Instant; }");
    write("runtime/clock.rs", "use super::Instant;");

    let read = imports::read_as(folder.path(), "layers_example");
    let found: Vec<String> = read.imports.iter().map(ToString::to_string).collect();
    let expected = [
        "defrag/a.rs:2 imports defrag/b.rs (super::Passed)",
        "defrag/a.rs:2 imports defrag/c.rs (super::c)",
        "defrag/a.rs:6 imports runtime/clock.rs (crate::runtime::clock::now)",
        "defrag/b.rs:1 imports defrag/mod.rs (super::TOP)",
        "defrag/c.rs:1 imports defrag/a.rs (crate::defrag::a)",
        "defrag/mod.rs:1 imports defrag/b.rs (b::Used)",
        "defrag/mod.rs:1 imports defrag/c.rs (self::c)",
        "main.rs:1 imports defrag/a.rs (layers_example::defrag::a::run)",
        "runtime/clock.rs:1 imports runtime/mod.rs (super::Instant)",
    ];
    assert_eq!(found, expected);
    assert_eq!(
        read.imports.iter().filter(|import| runs_up(import)).count(),
        2,
        "defrag to runtime, and main to defrag"
    );
    let circles: Vec<Vec<&str>> = circles(&read.imports)
        .iter()
        .map(|circle| circle.iter().map(|import| import.from.as_str()).collect())
        .collect();
    assert_eq!(circles, [vec!["defrag/a.rs", "defrag/c.rs"], vec!["defrag/b.rs", "defrag/mod.rs"]]);
}
