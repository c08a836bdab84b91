//! Whether clients have to log in.
//!
//! An etcd with authentication rejects a run without a login, and none of its flags shows it: a client enables
//! authentication once. So the evidence is what enables it, and the clients in the pod that log in.

use super::{
    commands, config_file,
    context::{Context, Reading},
    launch::base,
    options::BITNAMI_SCRIPTS,
    profile::Profile,
    recognise,
    targets::{Target, Targets},
    types::{Kind, Login},
};
use crate::defrag::{finding::quoted, statefulset::Container};

/// What Bitnami's image takes the password of root from. Where it has one, it switches authentication on.
const PASSWORD: &str = "ETCD_ROOT_PASSWORD";
const PASSWORD_FILE: &str = "ETCD_ROOT_PASSWORD_FILE";
/// Without a password that image starts only where this is yes.
const WITHOUT: &str = "ALLOW_NONE_AUTHENTICATION";
/// Flags that the image gives etcdctl besides its own.
const EXTRA: &str = "ETCD_EXTRA_AUTH_FLAGS";
/// The user of etcdctl.
const USER: &str = "ETCDCTL_USER";

const USER_FLAG: &str = "--user";

/// What shows that clients have to log in, the best evidence first.
pub(super) fn asked_for(context: &Context<'_>, targets: &Targets<'_, '_>) -> Option<Login> {
    if let Some(login) = by_password(context).or_else(|| by_image(context)) {
        return Some(login);
    }
    let readings = std::iter::once(context.etcd).chain(context.sidecars);
    let speakers: Vec<Speaker<'_>> = readings.map(|reading| Speaker::of(reading, targets)).collect();
    speakers
        .iter()
        .find_map(Speaker::switches_on)
        .or_else(|| speakers.iter().find_map(Speaker::logs_in))
        .or_else(|| by_flags(context))
        .or_else(|| speakers.iter().find_map(Speaker::adds_root))
        .or_else(|| may_be_elsewhere(context))
}

fn certain(shown: String) -> Login {
    Login { shown, is_certain: true, password: None, usual: None }
}

/// The pod template sets the password of root, itself or by a file, and something reads it.
fn by_password(context: &Context<'_>) -> Option<Login> {
    let set = |name: &str| context.options().env(name).filter(|setting| !setting.value.is_empty());
    let variable = [PASSWORD, PASSWORD_FILE].into_iter().find(|name| set(name).is_some())?;
    if !is_read(context, variable) {
        return None;
    }
    let login = certain(format!("The container {} sets a root password", quoted(&context.container().name)));
    if variable == PASSWORD {
        let variable = context.container().env.iter().rev().find(|variable| variable.name == PASSWORD);
        let reference = variable.and_then(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref());
        let named = reference.filter(|reference| !reference.name.is_empty() && !reference.key.is_empty());
        let password = named.map(|reference| (reference.name.clone(), reference.key.clone()));
        return Some(Login { password, ..login });
    }
    let file = set(PASSWORD_FILE)?;
    let object = file.known().and_then(|path| context.files.object(context.container(), path));
    let secret = object.filter(|object| object.kind == Kind::Secret);
    Some(Login { password: secret.map(|object| (object.name, object.key)), ..login })
}

/// Whether anything reads a variable of Bitnami's image: its entry point and its scripts do, and a script that names it. A command
/// that starts etcd itself goes round the entry point, and etcd's own image knows no such variable.
fn is_read(context: &Context<'_>, variable: &str) -> bool {
    let container = context.container();
    let is_named = texts_of(container).any(|text| text.contains(BITNAMI_SCRIPTS) || text.contains(variable));
    let by_entry_point = !context.options().starts_etcd();
    is_named || by_entry_point && (is_bitnami(context) || !recognise::is_of_etcd(&container.image))
}

fn is_bitnami(context: &Context<'_>) -> bool {
    context.profile == Profile::Bitnami || config_file::is_bitnami(context.container())
}

/// Bitnami's image with the option to start only with a password: it has one, wherever that is set.
fn by_image(context: &Context<'_>) -> Option<Login> {
    let reads = is_bitnami(context) && is_read(context, WITHOUT);
    let setting = context.options().env(WITHOUT).filter(|_| reads)?;
    let value = setting.known().filter(|value| !value.is_empty())?;
    let yes = ["1", "yes", "true"].iter().any(|yes| value.eq_ignore_ascii_case(yes));
    let name = quoted(&context.container().name);
    (!yes).then(|| Login {
        usual: usual(context.container()),
        ..certain(format!("The container {name} starts with a root password only ({WITHOUT} is {})", quoted(value)))
    })
}

/// The Secret of the environment that has the password under the name of its variable, where it can be only one.
fn usual(container: &Container) -> Option<(String, String)> {
    let mut secrets = container.env_from.iter().filter_map(|from| {
        let key = PASSWORD.strip_prefix(from.prefix.as_str()).filter(|key| !key.is_empty())?;
        let name = &from.secret_ref.as_ref()?.name;
        (!name.is_empty()).then(|| (name.clone(), key.to_owned()))
    });
    secrets.next().filter(|_| secrets.next().is_none())
}

/// Bitnami's image logs in by flags for etcdctl that a variable holds.
fn by_flags(context: &Context<'_>) -> Option<Login> {
    let flags = context.options().env(EXTRA).filter(|setting| is_bitnami(context) && !setting.value.is_empty())?;
    let logs_in = flags.known().map(|flags| flags.split_whitespace().any(is_user));
    let name = quoted(&context.container().name);
    match logs_in {
        Some(true) => Some(certain(format!("The container {name} talks to etcd as a user (--user in {EXTRA})"))),
        Some(false) => None,
        None => Some(Login {
            is_certain: false,
            ..certain(format!("The container {name} may talk to etcd as a user ({EXTRA} is not visible)"))
        }),
    }
}

fn is_user(word: &str) -> bool {
    word == "--user" || word.starts_with("--user=")
}

/// Bitnami's image with an environment that cannot be read: the password may be there. If it may start without one, a
/// ConfigMap is no place for it.
fn may_be_elsewhere(context: &Context<'_>) -> Option<Login> {
    let allows = context.options().env(WITHOUT).and_then(|setting| setting.known());
    let container = context.container();
    if !(is_bitnami(context) && is_read(context, PASSWORD)) {
        return None;
    }
    let is_free = allows.is_some_and(|value| !value.is_empty());
    let place = container.env_from.iter().find_map(|from| {
        PASSWORD.strip_prefix(from.prefix.as_str())?;
        match (&from.secret_ref, &from.config_map_ref) {
            (Some(secret), _) => Some(format!("the Secret {}", quoted(&secret.name))),
            (None, Some(config)) if !is_free => Some(format!("the ConfigMap {}", quoted(&config.name))),
            (None, _) => None,
        }
    })?;
    let name = quoted(&container.name);
    Some(Login {
        is_certain: false,
        usual: usual(container),
        ..certain(format!("The container {name} may get a root password from {place} (envFrom)"))
    })
}

/// A container, and its commands of etcdctl that may talk to this etcd, word by word.
struct Speaker<'a> {
    reading: &'a Reading<'a>,
    commands: Vec<Vec<String>>,
    /// Whether its variables for etcdctl are for another etcd.
    is_for_another: bool,
}

impl<'a> Speaker<'a> {
    fn of(reading: &'a Reading<'a>, targets: &Targets<'_, '_>) -> Self {
        let mut commands = commands::of(reading);
        commands.retain(|words| words.first().is_some_and(|program| base(program) == "etcdctl"));
        commands.retain(|words| targets.of_command(reading, words) != Target::Elsewhere);
        let is_set = reading.options.env(USER).is_some();
        let is_for_another = is_set && targets.of_environment(reading) == Target::Elsewhere;
        Self { reading, commands, is_for_another }
    }

    fn name(&self) -> String {
        quoted(&self.reading.container.name)
    }

    /// A command that switches authentication on.
    fn switches_on(&self) -> Option<Login> {
        let shown = || format!("The container {} runs \"etcdctl auth enable\"", self.name());
        self.runs(&["auth", "enable"]).then(|| certain(shown()))
    }

    /// A client that logs in.
    fn logs_in(&self) -> Option<Login> {
        let is_set = self.reading.options.env(USER).is_some_and(|setting| !setting.value.is_empty());
        let by_variable = is_set && !self.is_for_another;
        let by_flag = || self.commands.iter().any(|words| words.iter().any(|word| is_user(word)));
        if !by_variable
            && by_flag()
            && let Some(variable) = self.unset_password()
        {
            let name = self.name();
            let shown = format!(
                "The container {name} calls etcdctl with --user and a password from {}, a variable that the pod template does not set",
                quoted(variable)
            );
            return Some(Login { is_certain: false, ..certain(shown) });
        }
        let how = if by_variable { Some(USER) } else { by_flag().then_some("--user") };
        how.map(|how| certain(format!("The container {} talks to etcd as a user ({how})", self.name())))
    }

    /// The variable that gives each `--user` its password, if nothing visible sets it: etcdctl does not log in with an empty one.
    fn unset_password(&self) -> Option<&str> {
        let container = self.reading.container;
        let texts: Vec<&String> = texts_of(container).collect();
        let mut variables = texts.iter().flat_map(|text| {
            text.match_indices(USER_FLAG).map(|(at, flag)| password_of(text.get(at + flag.len()..).unwrap_or_default()))
        });
        let first = variables.next()??;
        let assigned = format!("{first}=");
        let is_set = !container.env_from.is_empty()
            || container.env.iter().any(|variable| variable.name == first)
            || texts.iter().any(|text| text.contains(&assigned));
        (!is_set && variables.all(|variable| variable == Some(first))).then_some(first)
    }

    /// A command that adds the user without whom authentication cannot be switched on.
    fn adds_root(&self) -> Option<Login> {
        let shown = || format!("The container {} runs \"etcdctl user add root\"", self.name());
        self.runs(&["user", "add", "root"]).then(|| Login { is_certain: false, ..certain(shown()) })
    }

    /// Whether a command has these words one behind the other, each whole or in front of a colon: `user add root:password`.
    fn runs(&self, wanted: &[&str]) -> bool {
        let is = |word: &String, wanted: &str| {
            word.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        let matches = |words: &[String]| words.iter().zip(wanted).all(|(word, wanted)| is(word, wanted));
        self.commands.iter().any(|words| words.windows(wanted.len()).any(matches))
    }
}

/// The words of a container, of its probes and of the hook behind its start.
fn texts_of(container: &Container) -> impl Iterator<Item = &String> {
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let probes = probes.into_iter().flatten().filter_map(|probe| probe.exec.as_ref());
    let hook = container.lifecycle.iter().filter_map(|lifecycle| lifecycle.post_start.as_ref()?.exec.as_ref());
    container.command.iter().chain(&container.args).chain(probes.chain(hook).flat_map(|exec| &exec.command))
}

/// The variable of a script that is the password in what follows `--user`: `=root:${PASSWORD}`.
fn password_of(behind: &str) -> Option<&str> {
    // The second API has --username.
    let value =
        behind.strip_prefix("name").unwrap_or(behind).strip_prefix(['=', ' '])?.trim_start_matches(['"', '\'', ' ']);
    let value = value.split(char::is_whitespace).next()?.trim_end_matches(['"', '\'']);
    let (_, password) = value.split_once(':')?;
    let name = password.trim_start_matches('"').strip_prefix('$')?;
    let name = name.strip_prefix('{').map_or(Some(name), |name| name.strip_suffix('}'))?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}
