use super::*;
use crate::defrag::etcd::home::Home;
use crate::defrag::statefulset::{Container, EnvVar};

fn run(script: &str) -> (Vec<Vec<String>>, bool) {
    let env = [("SVC", "etcd"), ("ARGS", "--a=1  --b=2"), ("QUOTA", "7")].map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    });
    let container = Container { env: env.to_vec(), ..Container::default() };
    let script = of(script, &container);
    (script.invocations, script.opaque)
}

fn of(script: &str, container: &Container) -> Script {
    let environment = Environment::of(container, "c", &Home::plain("ns"));
    read(
        script,
        Shell { environment, field: "f", exports_all: false, given: Vec::new(), is_brought: &|_, _| false },
        false,
    )
}

#[test]
fn plain_words_of_etcd() {
    for (script, words) in [
        ("exec etcd --a=1", vec!["--a=1"]),
        ("/usr/bin/etcd --a 1 \\\n  --b=2\n", vec!["--a", "1", "--b=2"]),
        (
            "set -eu; mkdir -p /x && exec /bin/etcd '--a=x y' \"--b=$SVC\" --c=${SVC}d",
            vec!["--a=x y", "--b=etcd", "--c=etcdd"],
        ),
        ("S=$(cat /etc/state) T=1 /usr/bin/etcd --a", vec!["--a"]),
        ("etcd $ARGS --c=$QUOTA", vec!["--a=1", "--b=2", "--c=7"]),
        ("QUOTA=9\nexport SVC=x\netcd --q=$QUOTA --s=$SVC", vec!["--q=9", "--s=x"]),
        ("# etcd --not=this\netcd --this # --nor-this", vec!["--this"]),
        ("etcd --a > /dev/null 2>&1", vec!["--a"]),
        ("etcd --n=${HOSTNAME} --m=$(hostname)", vec!["--n=\u{E000}", "--m=\u{E000}"]),
        ("etcd --n=$(hostname -i)", vec!["--n=\u{E002}"]),
        ("etcd --n=$(hostname -f) --m=${SVC:-x} --o=`x y`", vec!["--n=\u{E001}", "--m=etcd", "--o=\u{E001}"]),
        ("etcd --a\\ b=\"c \\\" \\d\" $", vec!["--a b=c \" \\d", "$"]),
        ("exec env A=b etcd --a", vec!["--a"]),
        ("etcd --a=$(echo \")\" '(' (x)) --b", vec!["--a=\u{E001}", "--b"]),
    ] {
        assert_eq!(run(script), (vec![words.into_iter().map(str::to_owned).collect()], false), "{script}");
    }
}

#[test]
fn a_condition_makes_assignments_unknown_but_not_the_words() {
    let script = "if [[ -f /x ]]; then\n  export QUOTA=9\nfi\netcd --q=$QUOTA --s=$SVC";
    assert_eq!(run(script), (vec![vec!["--q=\u{E001}".to_owned(), "--s=etcd".to_owned()]], false));
    let (both, opaque) = run("if x; then exec etcd --a=1; else exec etcd --a=2; fi");
    assert_eq!((both.len(), opaque), (2, false));
}

#[test]
fn what_is_set_whatever_happens_is_known_beside_conditions() {
    for (script, value) in [
        ("A=1; if x; then B=2; fi; etcd --a=$A", "--a=1"),
        ("if x; then A=2; fi; A=1; etcd --a=$A", "--a=\u{E001}"),
        ("f() { A=2; }; A=1; f; etcd --a=$A", "--a=\u{E001}"),
        ("A=1; case $x in y) B=1;; esac; etcd --a=$A", "--a=1"),
        ("for A in 1 2; do x; done; etcd --a=$A", "--a=\u{E001}"),
        ("A=1; [ -f /x ] && A=2; etcd --a=$A", "--a=\u{E001}"),
        ("A=1; x || A=2; etcd --a=$A", "--a=\u{E001}"),
        ("mkdir /x && A=1 && etcd --a=$A", "--a=1"),
        ("HOST=$(hostname); for i in 1; do ping x; done; etcd --a=$HOST", "--a=\u{E000}"),
    ] {
        assert_eq!(run(script).0, vec![vec![value.to_owned()]], "{script}");
    }
}

#[test]
fn programs_behind_others_and_clients() {
    assert_eq!(run("exec gosu etcd etcd --a").0, vec![vec!["--a".to_owned()]]);
    let script = of("while true; do etcdctl --cert=/x snapshot save y; sleep 9; done", &Container::default());
    assert_eq!(script.clients, [["etcdctl", "--cert=/x", "snapshot", "save", "y"]]);
    assert!(script.opaque && !script.runs_others);
    assert!(of("etcdctl get x; /start.sh", &Container::default()).runs_others);
    assert_eq!(of("exec etcd gateway start", &Container::default()).proxy.as_deref(), Some("gateway"));
}

#[test]
fn what_hides_words_is_opaque() {
    for script in [
        "",
        "/start.sh",
        ". /etc/env\netcd --a",
        "eval etcd",
        "source x; etcd",
        "cat <<E | etcd",
        "etcd 'x",
        "etcd \"x",
        "etcd --a=$(x",
        "$CMD --a",
        "etcd grpc-proxy start",
    ] {
        assert!(run(script).1, "{script}");
    }
}

/// The words of the only start of etcd in a script that is given these: `?` for what is unknown, `|` in front of each text of
/// which a word is one.
fn words(script: &str, given: &[&str]) -> String {
    let environment = Environment::of(&Container::default(), "c", &Home::plain("ns"));
    let given = given.iter().map(|word| (*word).to_owned()).collect();
    let shell = Shell { environment, field: "f", exports_all: false, given, is_brought: &|_, _| false };
    let script = read(script, shell, false);
    assert!(!script.opaque && script.invocations.len() == 1);
    script.invocations[0].join(",").replace(UNKNOWN, "?").replace(ONE_OF, "|")
}

#[test]
fn a_script_has_the_words_that_it_is_given() {
    for (script, expected) in [
        ("etcd \"$@\"", "--a b,-c"),
        ("etcd $@", "--a,b,-c"),
        ("etcd \"$*\"", "--a b -c"),
        ("etcd $1 \"$1\" ${2} $3 $0", "--a,b,--a b,-c,sh"),
        ("etcd ${1:-x} ${3:-x} ${3:+y}", "--a,b,x"),
        ("shift; etcd \"$@\"", "-c"),
        ("shift 2; etcd --x \"$@\"", "--x"),
        ("set -- \"$@\" -d; etcd \"$@\"", "--a b,-c,-d"),
        ("set -e -- -x y; etcd $2 $1", "y,-x"),
        ("set x; etcd $@", "x"),
        ("( shift ); etcd $2", "-c"),
        ("shift $(x); etcd \"$@\"", "?"),
        ("if x; then shift; fi; etcd \"$@\"", "?"),
        ("while x; do shift; done; etcd $1", "?"),
        ("if x; then set -- -d; fi; etcd \"$@\"", "?"),
        ("f() { etcd \"$@\"; }; f -d", "?"),
        ("f() { echo $1; }; f -d; etcd $2", "-c"),
    ] {
        assert_eq!(words(script, &["sh", "--a b", "-c"]), expected, "{script}");
    }
    assert_eq!(words("etcd \"$@\" $1 --a", &[]), "--a");
}

#[test]
fn a_word_that_branches_set_is_one_of_several_texts() {
    for (script, expected) in [
        ("if x; then A=--b=1; fi; etcd --a $A", "--a,||--b=1"),
        ("if x; then A='--b 1'; else A=; fi; etcd $A", "||--b 1"),
        ("x && A=--b; A=--c; etcd $A", "||--b|--c"),
        ("A=--a; if x; then A=\"$A --b\"; fi; y && A=\"--c $A\"; etcd $A", "|--a|--a --b|--c --a|--c --a --b"),
        ("A=--a; if x; then A+=' --b'; fi; etcd $A", "|--a|--a --b"),
        ("A=(--a); if x; then A+=(--b 1); fi; etcd \"${A[@]}\" --c", "| --a| --a --b 1,--c"),
        ("if x; then A=--a; fi; B=\"$A --b\"; etcd $B", "| --b|--a --b"),
        ("for i in 1 2; do A=\"$A --a=$i\"; done; etcd $A", "|| --a=| --a=1| --a=2"),
        ("for i in --a --b; do x; done; etcd $i", "||--a|--b"),
        ("if x; then A=1; fi; etcd --a=$A", "--a=?"),
        ("if x; then A='1 --b'; fi; etcd --a=$A \"$A\"", "--a=?,?,? ?"),
        ("if x; then A=$(y); fi; etcd $A", "||?"),
        ("if x; then A=1; fi; etcd ${A:+--a} ${A:---b}", "||--a,|--b|1"),
        ("IFS=,; if x; then A=1,2; fi; etcd $A", "?,?"),
        ("while x; do etcd $A; A=--b; done", "?"),
        ("f() { etcd $A; }; A=--b; f", "?"),
        ("A=--b; f() { etcd $A; }; f", "--b"),
    ] {
        assert_eq!(words(script, &[]), expected, "{script}");
    }
}

#[test]
fn what_does_not_hold_is_unknown() {
    for (script, expected) in [
        ("readonly A=1; A=2; etcd --a=$A", "--a=?"),
        ("declare -r A=1; A=2; etcd --a=$A", "--a=?"),
        ("readonly A=1; etcd --a=$A", "--a=1"),
        ("A=1; readonly A; unset A; etcd --a=$A", "--a=?"),
        ("UID=1; etcd --a=$UID", "--a=?"),
        ("trap 'A=2' DEBUG; A=1; etcd --a=$A", "--a=?"),
        ("trap 'A=2' TERM; A=1; etcd --a=$A", "--a=?"),
        ("trap 'A=2' EXIT; A=1; etcd --a=$A", "--a=1"),
        ("trap - TERM; trap '' HUP; trap 'kill \"$P\"' TERM INT; A=1; etcd --a=$A", "--a=1"),
    ] {
        assert_eq!(words(script, &[]), expected, "{script}");
    }
    for script in ["trap 'eval \"$X\"' DEBUG; etcd", "trap \"$(x)\" ERR; etcd", "trap 'etcd --b' USR1; etcd --a"] {
        assert!(run(script).1, "{script}");
    }
}

/// What etcd finds of `ETCD_A` in its environment, which the container has as `was`, and whether the script is opaque.
fn given(script: &str, was: Option<&str>) -> (Option<String>, bool) {
    let env = was.map(|value| EnvVar { name: "ETCD_A".to_owned(), value: Some(value.to_owned()), value_from: None });
    let script = of(script, &Container { env: env.into_iter().collect(), ..Container::default() });
    (script.variables.get("ETCD_A").map(|setting| setting.value.clone()), script.opaque)
}

#[test]
fn what_is_exported_reaches_etcd_and_nothing_else_does() {
    let unknown = Some("\u{E001}");
    for (script, was, expected) in [
        ("export ETCD_A=1; etcd", None, Some("1")),
        ("ETCD_A=1; export ETCD_A; etcd", None, Some("1")),
        ("export ETCD_A; ETCD_A=1; etcd", None, Some("1")),
        ("ETCD_A=1 etcd", None, Some("1")),
        ("ETCD_A=1 exec etcd", None, Some("1")),
        ("env ETCD_A=1 etcd", None, Some("1")),
        ("exec env ETCD_A=1 gosu etcd etcd", None, Some("1")),
        ("set -a; ETCD_A=1; set +a; etcd", None, Some("1")),
        ("set -o allexport; ETCD_A=1; etcd", None, Some("1")),
        ("set -ea; ETCD_A=1; etcd", None, Some("1")),
        ("declare -x ETCD_A=1; etcd", None, Some("1")),
        ("typeset -rx ETCD_A=1; etcd", None, Some("1")),
        ("readonly ETCD_A=1; export ETCD_A; etcd", None, Some("1")),
        ("N=ETCD_A; export $N=1; etcd", None, Some("1")),
        ("N=ETCD_A; export \"$N\"=1; etcd", None, Some("1")),
        ("export 'ETCD_A=1 2'; etcd", None, Some("1 2")),
        ("command export ETCD_A=1; etcd", None, Some("1")),
        ("( export ETCD_A=1; etcd )", None, Some("1")),
        ("export ETCD_A=1; ( export ETCD_A=2 ); etcd", None, Some("1")),
        ("ETCD_A=1; etcd", None, None),
        ("readonly ETCD_A=1; etcd", None, None),
        ("declare ETCD_A=1; etcd", None, None),
        ("set +a; ETCD_A=1; etcd", None, None),
        ("( export ETCD_A=1 ); etcd", None, None),
        ("export ETCD_A=1 | cat; etcd", None, None),
        ("export ETCD_A=1 & etcd", None, None),
        ("ETCD_A=1 mkdir /x; etcd", None, None),
        ("export ETCD_A=1; export -n ETCD_A; etcd", None, None),
        ("ETCD_A=(1 2); export ETCD_A; etcd", None, Some("1")),
        ("etcd", Some("0"), Some("0")),
        ("ETCD_A=1; etcd", Some("0"), Some("1")),
        ("ETCD_A+=1; etcd", Some("0"), Some("01")),
        ("unset ETCD_A; etcd", Some("0"), None),
        ("unset ETCD_A; ETCD_A=1; etcd", Some("0"), None),
        ("env -i etcd", Some("0"), None),
        ("env -i ETCD_A=1 etcd", Some("0"), Some("1")),
        ("env -u ETCD_A etcd", Some("0"), None),
        ("ETCD_A=2 env -i etcd", Some("0"), None),
        ("exec -c etcd", Some("0"), None),
        ("( unset ETCD_A ); etcd", Some("0"), Some("0")),
        ("if x; then export ETCD_A=1; fi; etcd", None, unknown),
        ("if x; then export ETCD_A; fi; ETCD_A=1; etcd", None, unknown),
        ("x && unset ETCD_A; etcd", Some("0"), unknown),
        ("grep -q a /b && ETCD_A=1; etcd", Some("0"), unknown),
        ("read ETCD_A; etcd", Some("0"), unknown),
        ("export ETCD_A; read ETCD_A < /x; etcd", None, unknown),
        ("printf -v ETCD_A %s.%s 1 2; etcd", Some("0"), unknown),
        ("ETCD_A[0]=1; etcd", Some("0"), unknown),
        ("declare -i ETCD_A=1+1; etcd", Some("0"), unknown),
        ("for ETCD_A in 1 2; do x; done; etcd", Some("0"), unknown),
        ("export ETCD_A=$(cat /x); etcd", None, unknown),
        ("if x; then etcd; else ETCD_A=1 etcd; fi", None, unknown),
        ("if x; then etcd; else env -i etcd; fi", Some("0"), unknown),
        ("export ETCD_A=1; etcd --a & export ETCD_A=2; etcd --b", None, unknown),
        ("while x; do etcd --a; export ETCD_A=2; done", Some("0"), unknown),
        ("ETCD_A=1 export B; etcd", Some("0"), unknown),
        ("case $x in a|b) export ETCD_A=1;; etcd) export ETCD_A=2;; esac; etcd", None, unknown),
        ("printf -v ETCD_A %s 1; etcd", Some("0"), Some("1")),
        ("printf -v ETCD_A 1; etcd", Some("0"), Some("1")),
        ("let ETCD_A=2*3; etcd", Some("0"), Some("6")),
        (": ${ETCD_A:=1}; etcd", Some(""), Some("1")),
        (": \"${ETCD_A:=1}\"; etcd", Some("0"), Some("0")),
        (": \"${ETCD_A:=1}\"; export ETCD_A; etcd", None, Some("1")),
        (": \"${ETCD_A:=1}\"; etcd", None, None),
        (": ${ETCD_A=1}; etcd", Some(""), Some("")),
        ("export ETCD_A=${ETCD_A:-1}; etcd", None, Some("1")),
        ("export ETCD_A=${ETCD_A:-1}; etcd", Some("0"), Some("0")),
        ("cat > /x <<EOF\nexport ETCD_A=1\nEOF\netcd", Some("0"), Some("0")),
    ] {
        assert_eq!(given(script, was), (expected.map(str::to_owned), false), "{script}");
    }
}

#[test]
fn what_may_set_any_variable_makes_all_unknown() {
    for script in [
        ". /cfg/env; etcd",
        "[ -f /cfg/env ] && source /cfg/env; etcd",
        "eval \"$X\"; etcd",
        "export $(cat /cfg/env | xargs); etcd",
        "while read L; do export \"$L\"; done < /cfg/env; etcd",
        "read N < /x; export $N=1; etcd",
        "declare -n R=ETCD_A; R=1; etcd",
        "printf -v \"$(cat /x)\" 1; etcd",
        "unset $(cat /x); etcd",
        "alias etcd='etcd --quota-backend-bytes=1'; etcd",
    ] {
        assert_eq!(given(script, Some("0")), (None, true), "{script}");
    }
    // A shell within the shell keeps it to itself.
    assert_eq!(given("( . /cfg/env; etcdctl get x ); etcd", Some("0")), (Some("0".to_owned()), false));
    for script in [
        "etcd() { command etcd --a \"$@\"; }; etcd --b",
        "env $(cat /x) etcd",
        "env -S 'etcd --a'",
        "sh < /x; etcd",
        ": ${!N:=1}; etcd",
    ] {
        assert!(given(script, Some("0")).1, "{script}");
    }
}

#[test]
fn a_group_sets_variables_where_it_runs_in_this_shell() {
    let unknown = Some("\u{E001}");
    for (script, was, expected) in [
        ("{ export ETCD_A=1; }; etcd", None, Some("1")),
        ("{ { export ETCD_A=1; }; } 2> /x\netcd", None, Some("1")),
        ("! { export ETCD_A=1; }; etcd", None, Some("1")),
        ("{ export ETCD_A=1; etcd; }", None, Some("1")),
        ("case $x in }) y;; {) z;; esac; { export ETCD_A=1; }; etcd", None, Some("1")),
        ("{ export ETCD_A=1; } | cat; etcd", None, None),
        ("{ export ETCD_A=1; } & etcd", Some("0"), Some("0")),
        ("{ export ETCD_A=1; etcd; } &", Some("0"), Some("1")),
        ("coproc { export ETCD_A=1; }; etcd", Some("0"), Some("0")),
        ("{ { export ETCD_A=1; } | cat; }; etcd", Some("0"), unknown),
        ("x && { y; export ETCD_A=1; }; etcd", Some("0"), unknown),
        ("x || { export ETCD_A=1; }; etcd", Some("0"), unknown),
        ("if x; then { export ETCD_A=1; }; fi; etcd", None, unknown),
        ("while x; do { export ETCD_A=1; }; done; etcd", None, unknown),
        ("f() { export ETCD_A=1; }; etcd", None, unknown),
        ("function f { { export ETCD_A=1; }; }; etcd", None, unknown),
    ] {
        assert_eq!(given(script, was), (expected.map(str::to_owned), false), "{script}");
    }
}

#[test]
fn what_reads_from_a_pipe_has_a_shell_of_its_own() {
    let unknown = Some("\u{E001}");
    for (script, was, expected) in [
        ("x | { read ETCD_A; etcd; }", Some("0"), unknown),
        ("x | { read ETCD_A; }; etcd", Some("0"), Some("0")),
        ("x | ( read ETCD_A; etcd )", Some("0"), unknown),
        ("x | if read ETCD_A; then etcd; fi", Some("0"), unknown),
        ("x | if y; then export ETCD_A=1; fi; etcd", Some("0"), Some("0")),
        ("x | case y in *) export ETCD_A=1;; esac; etcd", Some("0"), Some("0")),
        ("x | while read ETCD_A; do etcd; done", Some("0"), unknown),
    ] {
        assert_eq!(given(script, was), (expected.map(str::to_owned), false), "{script}");
    }
    assert_eq!(words("x | { read -r Q; etcd --a=$Q; }", &[]), "--a=?");
}

#[test]
fn a_trap_may_export_and_local_sets_nothing_outside_of_a_function() {
    let unknown = Some("\u{E001}");
    for (script, was, expected) in [
        ("trap 'export ETCD_A=1' DEBUG; etcd", None, unknown),
        ("ETCD_A=1; trap 'export ETCD_A' ERR; etcd", None, unknown),
        ("trap 'declare -x ETCD_A=1' RETURN; export ETCD_A=2; etcd", None, unknown),
        ("trap 'export ETCD_A=1' EXIT; etcd", None, None),
        ("local ETCD_A=1; etcd", Some("0"), unknown),
        ("local B=1; etcd", Some("0"), Some("0")),
    ] {
        assert_eq!(given(script, was), (expected.map(str::to_owned), false), "{script}");
    }
}

#[test]
fn a_script_within_the_script_is_followed() {
    let unknown = Some("\u{E001}");
    for (script, was, expected) in [
        ("sh -c etcd", Some("0"), Some("0")),
        ("export ETCD_A=1; exec bash -ec 'exec etcd'", None, Some("1")),
        ("ETCD_A=1; sh -c etcd", None, None),
        ("ETCD_A=1; sh -c etcd", Some("0"), Some("1")),
        ("ETCD_A=1 sh -c etcd", None, Some("1")),
        ("env ETCD_A=1 sh -c etcd", None, Some("1")),
        ("env -u ETCD_A sh -c etcd", Some("0"), None),
        ("sh -ac 'ETCD_A=1; etcd'", None, Some("1")),
        ("A=1; sh -c 'export ETCD_A=$A; etcd'", None, Some("")),
        ("A=1; sh -c \"export ETCD_A=$A; etcd\"", None, Some("1")),
        ("A=(1); sh -c 'export ETCD_A=${A[@]}; etcd'", None, Some("")),
        ("set -a; sh -c 'ETCD_A=1; etcd'", None, None),
        ("sh -c 'sh -c \"ETCD_A=1 etcd\"'", None, Some("1")),
        ("sh -c 'export ETCD_A=1; etcd'; etcd", Some("0"), unknown),
        ("sh -c 'export ETCD_A=1; etcdctl get x'; etcd", Some("0"), Some("0")),
        ("timeout 9 sh -c 'until etcdctl get x; do sleep 1; done'; etcd", Some("0"), Some("0")),
    ] {
        assert_eq!(given(script, was), (expected.map(str::to_owned), false), "{script}");
    }
    assert_eq!(words("sh -c 'etcd \"$@\" $0' a --b '--c d'", &["sh", "--e"]), "--b,--c d,a");
    assert_eq!(words("sh -c 'shift; etcd $1' a --b --c; echo $1", &["sh", "--e"]), "--c");
    let deep = (0..5)
        .fold("etcd".to_owned(), |script, _| format!("sh -c {}", script.replace('\\', "\\\\").replace(' ', "\\ ")));
    for script in [
        "sh -c \"etcd $(x)\"",
        "for i in 1 2; do sh -c 'etcd'; done",
        "export BASH_ENV=/x; bash -c etcd",
        "env -i sh -c etcd",
        "sh -c '. /x; etcd'",
        "sh -c 'etcd \"'",
        "sh -c etcd; sh -c etcd; sh -c etcd; sh -c etcd; sh -c etcd",
        &deep,
    ] {
        assert!(given(script, None).1, "{script}");
    }
}

#[test]
fn words_that_a_shell_makes() {
    for (script, words) in [
        ("etcd $'--a=1'", vec!["--a=1"]),
        ("etcd $'--a=\\'1\\''", vec!["--a='1'"]),
        ("etcd $\"--a=1\"", vec!["--a=1"]),
        ("etcd --{a,b}=1", vec!["--a=1", "--b=1"]),
        ("etcd '--{a,b}=1' --c={}", vec!["--{a,b}=1", "--c={}"]),
        ("A=(--a=1 '--b=2 3'); etcd \"${A[@]}\"", vec!["--a=1", "--b=2 3"]),
        ("A=(--a=1)\nA+=(\n  --b=2\n)\netcd \"${A[@]}\" --c", vec!["--a=1", "--b=2", "--c"]),
        ("A=--a; A+=' --b'; etcd $A", vec!["--a", "--b"]),
        ("etcd --a=$((8*1024*1024*1024))", vec!["--a=8589934592"]),
        ("etcd --a=$((QUOTA<<30))", vec!["--a=7516192768"]),
        ("etcd --a=$(($(cat /x)*2))", vec!["--a=\u{E003}"]),
        ("etcd --a=${NONE:-x-$SVC} --b=${SVC:+on}", vec!["--a=x-etcd", "--b=on"]),
        ("etcd --a=${NONE:-${NOPE:-\"${SVC}\"}}", vec!["--a=etcd"]),
        ("etcd --a=\"${NONE:-it's}\" --b", vec!["--a=it's", "--b"]),
        ("etcd --a=${NONE:=1} --b=$NONE", vec!["--a=1", "--b=1"]),
        ("etcd ${NONE:+--a} --b=${QUOTA%7}", vec!["--b=\u{E001}"]),
        ("etcd --a=\"x y\"$QUOTA", vec!["--a=x y7"]),
        ("A=1 etcd --a=$A", vec!["--a="]),
        ("etcd --a=$HOME --b=$KUBERNETES_SERVICE_HOST", vec!["--a=\u{E001}", "--b=\u{E001}"]),
        ("let A=2*3; etcd --a=$A", vec!["--a=6"]),
        ("((A=2)); etcd --a=$A", vec!["--a=\u{E001}"]),
        ("command -v etcd && etcd --a", vec!["--a"]),
        ("etcd --version; etcd --a", vec!["--a"]),
        ("case $1 in\n  etcd) echo x;;\n  (etcd|sh) echo y;;\nesac\netcd --a", vec!["--a"]),
        ("exec -a name etcd --a", vec!["--a"]),
        ("cat <<-'E' > /x\n\tetcd --not\n\tE\netcd --a", vec!["--a"]),
        ("read A <<< x; etcd --a &> /log --b", vec!["--a", "--b"]),
        ("etcd --a=\u{E000}", vec!["--a=\u{E000}"]),
    ] {
        assert_eq!(run(script), (vec![words.into_iter().map(str::to_owned).collect()], false), "{script}");
    }
    for script in [
        "etcd $'\\x2d-a'",
        "etcd --{1..3}",
        "etcd {--a,$SVC}",
        "A=([1]=--a); etcd \"${A[@]}\"",
        "etcd ${SVC#e}",
        "A=(x",
    ] {
        let (starts, opaque) = run(script);
        let hides = starts.iter().flatten().any(|word| word.starts_with(UNKNOWN));
        assert!(opaque || hides, "{script}");
    }
}

#[test]
fn a_client_that_defragments_is_seen() {
    for (script, expected) in [
        ("(while true; do sleep 60; etcdctl defrag --cluster; done) & exec etcd", true),
        ("etcdctl --endpoints=x defrag; etcd", true),
        ("etcdutl defrag --data-dir=/x; etcd", false),
        ("etcdctl defrag --data-dir /x; etcd", false),
        ("etcdctl get defrag-x; etcd", false),
    ] {
        assert_eq!(of(script, &Container::default()).defragments, expected, "{script}");
    }
}
