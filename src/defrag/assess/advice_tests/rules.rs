//! What is advised of a rule, applied as it is written, makes a rule that is accepted.

use super::*;

const RULES: &[&str] = &[
    "",
    "dbSizeFree",
    "dbSize >= 0",
    "dbQuotaUsage > 80",
    "dbSizeFree > 0",
    "dbQuotaUsage > 0.8",
    "dbQuotaUsage > 0.8 || dbSizeFree > 200*1024*1024",
    "dbSizeFree > 1024*1024*1024",
    "dbSizeFree > 500*1024*1024 // big",
    "dbSizeFree > 500*1024*1024 // big || (dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024)",
    "dbSizeFree > 500*1024*1024 /* big */ // and so on /* or",
    "dbSizeFree > 500*1024*1024 /* big",
    "// big\ndbSizeFree > 500*1024*1024",
    "dbSizeFree > 0 || dbSize > 4096 // all",
    "dbSizeFree > 0 /* nothing",
    "(dbQuotaUsage > 0.8 // big) && dbSizeFree > 32*1024*1024",
    "dbSize > 4096 ? dbSizeFree > 1024*1024*1024 : dbSizeFree > 2*1024*1024*1024",
    "dbSize > 4096 ? dbSizeFree > 1024*1024*1024 : dbSizeFree > 2*1024*1024*1024 // choice",
    "dbSize / dbSizeInUse > 2",
    "dbSizeFree > 17179869184*1073741824",
];

/// The rule with what a message says to make of it, where it says something.
fn applied(rule: &str, message: &str) -> Option<String> {
    // The comment that reaches to the end is the first of the marks behind which nothing closes it.
    let open = rule.find("//").filter(|at| !rule.get(*at..).unwrap().contains('\n'));
    let comment = open.or_else(|| rule.rfind("/*").filter(|at| !rule.get(*at..).unwrap().contains("*/")));
    let (head, tail) = rule.split_at(comment.unwrap_or(rule.len()));
    let behind = |lead: &str| Some(message.split_once(lead)?.1);
    None.or_else(|| Some(format!("{rule} {}", behind("Add: ")?)))
        .or_else(|| Some(format!("{head} {} {tail}", behind("Add in front of the comment at its end: ")?)))
        .or_else(|| Some(format!("({rule}) {}", behind("Put the rule in parentheses and add: ")?)))
        .or_else(|| {
            let lead = "Put the rule without the comment at its end in parentheses and add: ";
            Some(format!("({head}) {}", behind(lead)?))
        })
        .or_else(|| behind("for example: ").map(ToOwned::to_owned))
}

#[test]
fn each_advice_on_a_rule_is_accepted_under_each_policy() {
    let mut tried = 0;
    for spec in policies() {
        let governing = governed(&spec);
        for rule in RULES {
            let before = assessed(&etcd(&[("rule", rule)]), &governing);
            for finding in before.iter().filter(|finding| finding.field == Key::Rule.field()) {
                let Some(corrected) = applied(rule, &finding.message) else { continue };
                let after = assessed(&etcd(&[("rule", &corrected)]), &governing);
                let context = format!("{spec} {rule:?}: {} makes {corrected:?}\n{after:#?}", finding.message);
                assert!(after.iter().all(|one| one.code != finding.code), "stays: {context}");
                let new: Vec<_> = denials(&after).difference(&denials(&before)).cloned().collect();
                assert!(new.is_empty(), "new {new:?}: {context}");
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "only {tried} were tried");
}

/// Where a comment takes the rest of a rule, that is what is wrong with it.
#[test]
fn a_comment_that_takes_the_rest_of_a_rule_is_named() {
    let invalid = |rule: &str| {
        let found = assessed(&etcd(&[("rule", rule)]), &governed(&json!({})));
        message_of(&found, Code::RuleInvalid).to_owned()
    };
    let message = invalid("(dbQuotaUsage > 0.8 // big) && dbSizeFree > 32*1024*1024");
    assert!(
        message.contains("all from // in column 21 on is a comment; leave it out, or write it as /* … */"),
        "{message}"
    );
    let message = invalid("(dbQuotaUsage > 0.8 /* big) && dbSizeFree > 32*1024*1024");
    assert!(message.contains("all from /* in column 21 on is a comment; close it with */"), "{message}");
    let message = invalid("dbQuotaUsage > // 0.8");
    assert!(message.contains("all from // in column 16 on"), "{message}");
    assert!(!invalid("(dbQuotaUsage > 0.8").contains("comment"));
}
