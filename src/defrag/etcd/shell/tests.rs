use super::*;
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
    let environment = Environment::of(container, "c", "ns");
    read(script, Shell { environment, field: "f", exports_all: false, is_brought: &|_, _| false }, false)
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
        "etcd \"$@\"",
        "etcd $1",
        ". /etc/env\netcd --a",
        "eval etcd",
        "source x; etcd",
        "cat <<E | etcd",
        "etcd 'x",
        "etcd \"x",
        "etcd --a=$(x",
        "$CMD --a",
        "etcd grpc-proxy start",
        "etcd --name=a $(x)",
        "etcd --pre-vote $(x)",
        "etcd --initial-cluster a $(x)",
    ] {
        assert!(run(script).1, "{script}");
    }
    for script in ["X=$(x); etcd --initial-cluster $X --a", "X=$(x); etcd -name \"$X\"", "X=$(x); etcd --b=$X"] {
        assert!(!run(script).1, "{script}");
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
        "sh -c 'export ETCD_A=1; etcd'; etcd",
        "sh < /x; etcd",
        ": ${!N:=1}; etcd",
    ] {
        assert!(given(script, Some("0")).1, "{script}");
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
        assert!(run(script).1, "{script}");
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
