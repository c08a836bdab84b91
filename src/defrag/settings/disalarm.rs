//! When the alarm NOSPACE is lifted after a run.

use super::{
    super::{
        finding::{Code, quoted},
        keys::Key,
        ratio,
    },
    DEFAULT_DISALARM_BELOW, Parser, meant,
};

/// Above this share of the quota, so little is free that the next writes raise the alarm again.
const NO_ROOM: f64 = 0.95;

impl Parser<'_> {
    pub(super) fn disalarm_below(&mut self) -> f64 {
        let Some(value) = self.take(Key::DisalarmBelow) else { return DEFAULT_DISALARM_BELOW };
        self.warn_of_fraction(Key::DisalarmBelow, ratio::parse(value).ok());
        self.warn_of_no_room(value);
        ratio::parse(value).unwrap_or_else(|error| {
            self.refuse(
                Code::DisalarmInvalid,
                Key::DisalarmBelow,
                "must be strictly between 0 and 1, such as 90%",
                format!(
                    "{} {error}. The NOSPACE alarm is lifted when every member is below this share of its quota, and the \
                     engine accepts only a share strictly between 0 and 1.",
                    quoted(value)
                ),
            );
            DEFAULT_DISALARM_BELOW
        })
    }

    /// An alarm that is lifted on a database that is as good as full.
    fn warn_of_no_room(&mut self, value: &str) {
        let lifts = self.take(Key::AutoDisalarm).and_then(meant) == Some(true);
        let Some(share) = ratio::parse(value).ok().filter(|share| lifts && *share > NO_ROOM) else { return };
        let (free, most) = (ratio::percent(1.0 - share), ratio::exact(NO_ROOM));
        self.refuse(
            Code::RuleConstantSuspect,
            Key::DisalarmBelow,
            &format!("is {value}: with {free} of the quota free the next writes raise the alarm again; write {most}"),
            format!(
                "{} lifts the alarm NOSPACE of a member that has as little as {free} of its quota free: the next writes fill it, and the \
                 alarm is raised again. Write {most} or less.",
                quoted(value)
            ),
        );
    }
}
