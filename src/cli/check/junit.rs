//! Findings as `JUnit` XML, the part of it that CI systems show.
//!
//! Each file is a suite and each object a test case. One that is refused has failed, with all that refuses it; warnings are its
//! output. What cannot be read is an error of a suite of its own.

use std::collections::BTreeMap;

use quick_xml::{Writer, events::BytesText};

use super::Assessed;
use crate::defrag::{finding::Finding, text::printable};

/// The document.
///
/// # Errors
/// Never in memory; the writer's signature has it.
pub(super) fn document(assessed: &[Assessed], troubles: &[String]) -> std::io::Result<String> {
    let mut files: BTreeMap<&str, Vec<&Assessed>> = BTreeMap::new();
    for one in assessed {
        files.entry(&*one.file).or_default().push(one);
    }
    let failed = assessed.iter().filter(|one| one.refused()).count();
    let tests = (assessed.len() + troubles.len()).to_string();
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer
        .create_element("testsuites")
        .with_attributes([
            ("name", env!("CARGO_PKG_NAME")),
            ("tests", &tests),
            ("failures", &failed.to_string()),
            ("errors", &troubles.len().to_string()),
        ])
        .write_inner_content(|writer| {
            for (file, of_file) in &files {
                suite(writer, file, of_file)?;
            }
            unreadable(writer, troubles)
        })?;
    let text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}\n"))
}

type Out = Writer<Vec<u8>>;

fn suite(writer: &mut Out, file: &str, of_file: &[&Assessed]) -> std::io::Result<()> {
    let file = printable(file);
    let failed = of_file.iter().filter(|one| one.refused()).count();
    writer
        .create_element("testsuite")
        .with_attributes([
            ("name", file.as_str()),
            ("tests", &of_file.len().to_string()),
            ("failures", &failed.to_string()),
            ("errors", "0"),
        ])
        .write_inner_content(|writer| of_file.iter().try_for_each(|one| case(writer, &file, one)))?;
    Ok(())
}

fn case(writer: &mut Out, file: &str, one: &Assessed) -> std::io::Result<()> {
    let name = printable(&one.subject.name());
    let line = one.line.to_string();
    let element = writer.create_element("testcase").with_attributes([
        ("classname", file),
        ("name", name.as_str()),
        ("file", file),
        ("line", line.as_str()),
    ]);
    if one.findings.is_empty() {
        element.write_empty()?;
        return Ok(());
    }
    let (refusing, others): (Vec<_>, Vec<_>) = one.placed().partition(|(_, finding)| finding.denies() && one.refused());
    element.write_inner_content(|writer| {
        if let Some((_, first)) = refusing.first() {
            writer
                .create_element("failure")
                .with_attributes([("type", first.code.as_str()), ("message", printable(&first.brief).as_str())])
                .write_text_content(BytesText::new(&texts(one, &refusing)))?;
        }
        if !others.is_empty() {
            writer.create_element("system-out").write_text_content(BytesText::new(&texts(one, &others)))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Each finding as a paragraph: where, how severe, which code, and the message.
fn texts(one: &Assessed, findings: &[(u64, &Finding)]) -> String {
    let text = |(line, finding): &(u64, &Finding)| {
        let field = finding.field.to_string();
        let head = printable(&format!("{}:{line}: {field}: {} {}", one.file, finding.severity, finding.code));
        format!("{head}\n{}", printable(&finding.message))
    };
    findings.iter().map(text).collect::<Vec<_>>().join("\n\n")
}

fn unreadable(writer: &mut Out, troubles: &[String]) -> std::io::Result<()> {
    if troubles.is_empty() {
        return Ok(());
    }
    let number = troubles.len().to_string();
    writer
        .create_element("testsuite")
        .with_attributes([("name", "input"), ("tests", &number), ("failures", "0"), ("errors", &number)])
        .write_inner_content(|writer| {
            troubles.iter().map(|trouble| printable(trouble)).try_for_each(|trouble| {
                writer
                    .create_element("testcase")
                    .with_attributes([("classname", "input"), ("name", trouble.as_str())])
                    .write_inner_content(|writer| {
                        writer
                            .create_element("error")
                            .with_attributes([("type", "unreadable"), ("message", trouble.as_str())])
                            .write_empty()?;
                        Ok(())
                    })?;
                Ok(())
            })
        })?;
    Ok(())
}
