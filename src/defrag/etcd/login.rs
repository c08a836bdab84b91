//! Whether clients have to log in.
//!
//! An etcd with authentication turns away a run without a login, and nothing of its own flags says so: authentication is
//! switched on by a client, once. So what sets it up, and whoever in the pod logs in, is the evidence.

use super::{
    clients, config_file,
    context::{Context, Reading},
    launch::base,
    profile::Profile,
    types::{Kind, Login},
};
use crate::defrag::{finding::quoted, statefulset::Container};

/// What Bitnami's image takes the password of root from. Where it has one, it switches authentication on.
const PASSWORD: &str = "ETCD_ROOT_PASSWORD";
const PASSWORD_FILE: &str = "ETCD_ROOT_PASSWORD_FILE";
/// Without a password that image starts only where this is yes.
const WITHOUT: &str = "ALLOW_NONE_AUTHENTICATION";
/// The user of etcdctl.
const USER: &str = "ETCDCTL_USER";

/// What shows that clients have to log in, the best evidence first.
pub(super) fn asked_for(context: &Context<'_>) -> Option<Login> {
    if let Some(login) = by_password(context).or_else(|| by_image(context)) {
        return Some(login);
    }
    let speakers: Vec<Speaker<'_>> = std::iter::once(context.etcd).chain(context.sidecars).map(Speaker::of).collect();
    speakers
        .iter()
        .find_map(Speaker::switches_on)
        .or_else(|| speakers.iter().find_map(Speaker::logs_in))
        .or_else(|| speakers.iter().find_map(Speaker::adds_root))
        .or_else(|| may_be_elsewhere(context))
}

fn certain(shown: String) -> Login {
    Login { shown, is_certain: true, password: None, usual: None }
}

/// The pod template sets the password of root, itself or by a file.
fn by_password(context: &Context<'_>) -> Option<Login> {
    let shown = || format!("The container {} sets a root password", quoted(&context.container().name));
    let set = |name: &str| context.options().env(name).filter(|setting| !setting.value.is_empty());
    if set(PASSWORD).is_some() {
        let variable = context.container().env.iter().rev().find(|variable| variable.name == PASSWORD);
        let reference = variable.and_then(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref());
        let named = reference.filter(|reference| !reference.name.is_empty() && !reference.key.is_empty());
        let password = named.map(|reference| (reference.name.clone(), reference.key.clone()));
        return Some(Login { password, ..certain(shown()) });
    }
    let file = set(PASSWORD_FILE)?;
    let object = file.known().and_then(|path| context.files.object(context.container(), path));
    let secret = object.filter(|object| object.kind == Kind::Secret);
    Some(Login { password: secret.map(|object| (object.name, object.key)), ..certain(shown()) })
}

fn is_bitnami(context: &Context<'_>) -> bool {
    context.profile == Profile::Bitnami || config_file::is_bitnami(context.container())
}

/// Bitnami's image, which is told to start with a password only: it has one, wherever that stands.
fn by_image(context: &Context<'_>) -> Option<Login> {
    let setting = context.options().env(WITHOUT).filter(|_| is_bitnami(context))?;
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

/// Bitnami's image with an environment that cannot be read: the password may stand there.
fn may_be_elsewhere(context: &Context<'_>) -> Option<Login> {
    let allows = context.options().env(WITHOUT).and_then(|setting| setting.known());
    let container = context.container();
    if !is_bitnami(context) || allows.is_some_and(|value| !value.is_empty()) {
        return None;
    }
    let place = container.env_from.iter().find_map(|from| {
        PASSWORD.strip_prefix(from.prefix.as_str())?;
        match (&from.secret_ref, &from.config_map_ref) {
            (Some(secret), _) => Some(format!("the Secret {}", quoted(&secret.name))),
            (None, Some(config)) => Some(format!("the ConfigMap {}", quoted(&config.name))),
            (None, None) => None,
        }
    })?;
    let name = quoted(&container.name);
    Some(Login {
        is_certain: false,
        usual: usual(container),
        ..certain(format!("The container {name} may get a root password from {place} (envFrom)"))
    })
}

/// A container, and its commands of etcdctl, word by word.
struct Speaker<'a> {
    reading: &'a Reading<'a>,
    commands: Vec<Vec<String>>,
}

impl<'a> Speaker<'a> {
    fn of(reading: &'a Reading<'a>) -> Self {
        let mut commands = clients::commands_of(reading);
        commands.retain(|words| words.first().is_some_and(|program| base(program) == "etcdctl"));
        Self { reading, commands }
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
        let is_user = |word: &String| word == "--user" || word.starts_with("--user=");
        let by_variable = self.reading.options.env(USER).is_some_and(|setting| !setting.value.is_empty());
        let by_flag = || self.commands.iter().any(|words| words.iter().any(is_user));
        let how = if by_variable { Some(USER) } else { by_flag().then_some("--user") };
        how.map(|how| certain(format!("The container {} talks to etcd as a user ({how})", self.name())))
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
