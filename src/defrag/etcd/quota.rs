//! The storage quota and the compaction that etcd does by itself.

use super::{
    DEFAULT_QUOTA,
    context::Context,
    marks::readable,
    profile::Profile,
    setting::Setting,
    types::{AutoCompaction, CompactionDoubt, Quota},
};
use crate::defrag::{
    duration,
    finding::{Code, Finding, quoted},
    keys::Key,
    quantity::{GIB, MIB, human, rounded},
};

/// The modes of auto-compaction.
const PERIODIC: &str = "periodic";
const REVISION: &str = "revision";
/// The fewest bytes that one revision takes: bbolt has 16 for each item of a page, etcd 17 for the key of a revision.
const LEAST_REVISION: u64 = 33;

/// The quota, or `None` along with a finding that refuses.
pub(super) fn discover(context: &Context<'_>, findings: &mut Vec<Finding>) -> Option<Quota> {
    let stated = stated(context.overrides.quota, findings);
    match observe(context) {
        Observed::Bytes(quota) => {
            if let Some(bytes) = stated.filter(|bytes| *bytes != quota.bytes) {
                findings.push(mismatch(&quota, bytes));
            }
            Some(quota)
        }
        Observed::Invalid(setting) => {
            findings.push(invalid(context, &setting));
            None
        }
        Observed::Hidden(place) => {
            if stated.is_none() && context.overrides.quota.is_none() {
                findings.push(unknown(&place));
            }
            stated.map(annotated)
        }
        Observed::Absent => stated.map(annotated).or_else(|| Some(default(context))),
    }
}

enum Observed {
    Bytes(Quota),
    /// It is set to what no quota can be.
    Invalid(Setting),
    /// It is, or may be, set where it cannot be read.
    Hidden(String),
    /// It is not set, though the entry point of the image might set it.
    Absent,
}

fn observe(context: &Context<'_>) -> Observed {
    let sidecar = || {
        let druid = (context.profile == Profile::EtcdDruid).then_some("embedded-etcd-quota-bytes")?;
        context.sidecars.iter().find_map(|sidecar| sidecar.options.get(druid))
    };
    if let Some(setting) = context.options().get("quota-backend-bytes").or_else(sidecar) {
        return read(setting, 1);
    }
    if let Some(setting) = context.options().get("quota-backend-gb") {
        return read(setting, GIB);
    }
    match context.options().unreadable() {
        Some(place) if !writes_all(context) => Observed::Hidden(place),
        _ if context.options().starts_etcd() => Observed::Bytes(default(context)),
        _ if context.profile == Profile::EtcdDruid => {
            Observed::Hidden("the ConfigMap that etcd-druid writes".to_owned())
        }
        _ => Observed::Absent,
    }
}

/// Whether an operator writes the ConfigMap that is not visible, and neither a quota nor auto-compaction into it.
fn writes_all(context: &Context<'_>) -> bool {
    matches!(context.profile, Profile::Cozystack | Profile::EtcdOperator) && !context.options().has_config_file()
}

fn read(setting: &Setting, unit: u64) -> Observed {
    let Some(text) = setting.known() else {
        return Observed::Hidden(setting.place());
    };
    match parse_go(text).and_then(|number| u64::try_from(number).ok()) {
        Some(0) => Observed::Bytes(Quota {
            bytes: DEFAULT_QUOTA,
            is_default: true,
            source: format!("{}=0, which means etcd's default", setting.origin),
            field: setting.field.clone().into(),
        }),
        Some(number) => match number.checked_mul(unit).filter(|bytes| i64::try_from(*bytes).is_ok()) {
            Some(bytes) => Observed::Bytes(Quota {
                bytes,
                is_default: false,
                source: setting.origin.clone(),
                field: setting.field.clone().into(),
            }),
            None => Observed::Invalid(setting.clone()),
        },
        None => Observed::Invalid(setting.clone()),
    }
}

/// An integer as Go's flag package reads it: `0x`, `0o`, `0b` and a leading `0` choose the base, underscores may stand
/// between digits.
fn parse_go(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.get(2..)?),
        [b'0', b'o', ..] => (8, lower.get(2..)?),
        [b'0', b'b', ..] => (2, lower.get(2..)?),
        [b'0', _, ..] => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    let misplaced = body.ends_with('_') || body.contains("__") || (radix == 10 && body.starts_with('_'));
    let body = body.replace('_', "");
    if misplaced || !body.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{body}"), radix).ok()
}

fn default(context: &Context<'_>) -> Quota {
    Quota {
        bytes: DEFAULT_QUOTA,
        is_default: true,
        source: "etcd's default, as none is set".to_owned(),
        field: context.words_field().into(),
    }
}

/// The annotation sets no quota, it says which one is set out of view: the default is how it says that none is.
fn annotated(bytes: u64) -> Quota {
    let source = Key::Quota.annotation().to_owned();
    Quota { bytes, is_default: bytes == DEFAULT_QUOTA, source, field: Key::Quota.field() }
}

/// What the annotation states, where it states a quota.
fn stated(bytes: Option<u64>, findings: &mut Vec<Finding>) -> Option<u64> {
    if bytes == Some(0) {
        findings.push(Finding::new(
            Code::QuotaInvalid,
            Key::Quota.field(),
            "the quota cannot be 0; write the bytes that etcd is given, such as 8Gi",
            format!(
                "{} is 0, and a quota of 0 bytes leaves nothing to measure against. Write the quota that this etcd is \
                 given, such as 8Gi, or 2Gi for an etcd that is given none.",
                Key::Quota.annotation()
            ),
        ));
    }
    bytes.filter(|bytes| *bytes > 0)
}

/// What an annotation says, exactly: 8G are no round number of KiB that anybody knows it by.
fn exactly(bytes: u64) -> String {
    if bytes.is_multiple_of(MIB) { human(bytes) } else { format!("{bytes} bytes ({})", rounded(bytes)) }
}

fn mismatch(quota: &Quota, stated: u64) -> Finding {
    let (given, said) = (human(quota.bytes), exactly(stated));
    Finding::new(
        Code::QuotaMismatch,
        Key::Quota.field(),
        format!("the annotation says {said}, etcd runs with {given}"),
        format!(
            "{} says {said}, but this etcd runs with {given} ({} in {}). Rules and alarms would be evaluated with the \
             wrong size. Remove the annotation; the quota is read from the pod template.",
            Key::Quota.annotation(),
            quota.source,
            quota.field
        ),
    )
}

fn invalid(context: &Context<'_>, setting: &Setting) -> Finding {
    let value = quoted(&readable(&setting.value));
    let unit = "etcd accepts only a plain number of bytes there, without a unit, of at most 9223372036854775807";
    let why = if parse_go(&setting.value).is_some_and(|number| number < 0) {
        "a negative number switches the quota off, so nothing bounds the database and no rule can be measured"
            .to_owned()
    } else {
        context.unexpanded(setting).unwrap_or_else(|| unit.to_owned())
    };
    Finding::new(
        Code::QuotaInvalid,
        setting.field.clone(),
        format!("{} is {value}, which is not a number of bytes above 0", setting.origin),
        format!(
            "{} is {value}: {why}. Write a number of bytes, such as --quota-backend-bytes=8589934592 for 8 GiB.",
            setting.origin
        ),
    )
}

fn unknown(place: &str) -> Finding {
    Finding::new(
        Code::QuotaUnknown,
        Key::Quota.field(),
        format!("the quota is not visible; set {}", Key::Quota.annotation()),
        format!(
            "The storage quota is not visible in the pod template: it may be set in {place}, which is not read here. A \
             wrong quota makes a run too early, too late or every night, so none is assumed. Set {} to the quota that \
             this etcd has, such as 8Gi (2Gi if none is configured).",
            Key::Quota.annotation()
        ),
    )
}

/// The compaction that etcd does by itself, of a database of at most so many bytes.
pub(super) fn auto_compaction(
    context: &Context<'_>,
    most_bytes: u64,
) -> Result<Option<AutoCompaction>, CompactionDoubt> {
    let druid = context.profile == Profile::EtcdDruid;
    let get = |flag: &str| {
        let sidecar = || context.sidecars.iter().find_map(|sidecar| sidecar.options.get(flag)).filter(|_| druid);
        context.options().get(flag).or_else(sidecar)
    };
    let mode = get("auto-compaction-mode").filter(|mode| !mode.value.is_empty());
    let name = mode.map_or_else(|| PERIODIC.to_owned(), |mode| readable(&mode.value));
    let Some(setting) = get("auto-compaction-retention") else {
        // Kubermatic's launcher always adds this flag.
        let launched = || AutoCompaction { mode: name, retention: "8".to_owned() };
        return match context.options().elsewhere().filter(|_| !writes_all(context)) {
            _ if context.options().is_launched() => Ok(Some(launched())),
            Some(place) => Err(CompactionDoubt::Unseen(place)),
            None => Ok(None),
        };
    };
    let Some(retention) = setting.known() else { return Err(CompactionDoubt::Unseen(setting.place())) };
    if retention.chars().all(|c| c == '0' || c == '.' || c.is_ascii_alphabetic()) {
        return Ok(None);
    }
    // In either mode etcd takes a duration; as a number of revisions it is that of its nanoseconds.
    let number = retention.parse::<u64>().ok();
    let revisions = number.or_else(|| u64::try_from(duration::parse(retention).ok()?).ok());
    match (mode, revisions) {
        (Some(mode), _) if mode.known().is_none() && number.is_none() => Err(CompactionDoubt::Unseen(mode.place())),
        (_, Some(revisions)) if name == REVISION && revisions > most_bytes / LEAST_REVISION => {
            Err(CompactionDoubt::KeepsAll {
                origin: setting.origin.clone(),
                retention: retention.to_owned(),
                revisions,
                field: setting.field.clone(),
            })
        }
        _ => Ok(Some(AutoCompaction { mode: name, retention: retention.to_owned() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_reads_them() {
        for (text, number) in [
            ("8589934592", Some(8 << 30)),
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("+5", Some(5)),
            ("0x10", Some(16)),
            ("0X1F", Some(31)),
            ("010", Some(8)),
            ("0o17", Some(15)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("0_7", Some(7)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("8Gi", None),
            ("1e9", None),
            ("1.0", None),
            (" 1", None),
            ("+-1", None),
            ("0x", None),
            ("08", None),
            ("", None),
            ("9223372036854775808", None),
            ("é", None),
        ] {
            assert_eq!(parse_go(text), number, "{text}");
        }
    }
}
