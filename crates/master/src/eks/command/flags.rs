//! The flags of the two commands, as awscli 1.46 and 2 and aws-iam-authenticator 0.7 have them.

use super::{Asked, FILE, PROFILE, Problem};

/// A command.
pub(super) struct Tool {
    /// The words between its flags.
    pub(super) words: &'static [&'static str],
    flags: &'static [Flag],
    /// Python's argparse takes the beginning of a flag for the flag: `aws eks update-kubeconfig` itself writes `--role`.
    abbreviated: bool,
}

struct Flag {
    name: &'static str,
    short: Option<char>,
    /// Whether a value follows.
    valued: bool,
    does: Does,
}

#[derive(Clone, Copy)]
enum Does {
    Cluster,
    ClusterId,
    Role,
    ExternalId,
    SessionName,
    Region,
    /// Nothing to the login.
    Nothing,
    Refused(&'static str),
}

const UNSAFE: &str = "is refused: take it out";

const fn value(name: &'static str, does: Does) -> Flag {
    Flag { name, short: None, valued: true, does }
}

const fn short(name: &'static str, short: char, does: Does) -> Flag {
    Flag { name, short: Some(short), valued: true, does }
}

const fn switch(name: &'static str, does: Does) -> Flag {
    Flag { name, short: None, valued: false, does }
}

pub(super) const AWS: Tool = Tool {
    words: &["eks", "get-token"],
    abbreviated: true,
    flags: &[
        value("cluster-name", Does::Cluster),
        value("cluster-id", Does::ClusterId),
        value("role-arn", Does::Role),
        value("region", Does::Region),
        value("profile", Does::Refused(PROFILE)),
        value("endpoint-url", Does::Refused("is refused: tokens are for AWS's own STS; take it out")),
        value("ca-bundle", Does::Refused(FILE)),
        switch("no-verify-ssl", Does::Refused(UNSAFE)),
        switch("no-sign-request", Does::Refused(UNSAFE)),
        switch("debug", Does::Nothing),
        switch("no-paginate", Does::Nothing),
        value("output", Does::Nothing),
        value("query", Does::Nothing),
        value("color", Does::Nothing),
        value("cli-read-timeout", Does::Nothing),
        value("cli-connect-timeout", Does::Nothing),
        value("cli-binary-format", Does::Nothing),
        value("cli-error-format", Does::Nothing),
        switch("no-cli-pager", Does::Nothing),
        switch("cli-auto-prompt", Does::Nothing),
        switch("no-cli-auto-prompt", Does::Nothing),
        switch("v2-debug", Does::Nothing),
    ],
};

pub(super) const AUTHENTICATOR: Tool = Tool {
    words: &["token"],
    abbreviated: false,
    flags: &[
        short("cluster-id", 'i', Does::Cluster),
        short("role", 'r', Does::Role),
        short("external-id", 'e', Does::ExternalId),
        short("session-name", 's', Does::SessionName),
        value("region", Does::Region),
        switch(
            "forward-session-name",
            Does::Refused("is refused: our own session is called after the master; use --session-name, or take it out"),
        ),
        short("config", 'c', Does::Refused(FILE)),
        switch("cache", Does::Nothing),
        switch("token-only", Does::Nothing),
        value("feature-gates", Does::Nothing),
        short("log-format", 'l', Does::Nothing),
        short("log-verbosity", 'v', Does::Nothing),
    ],
};

/// Takes in the flags, and returns the words between them. The last one of a kind counts, as it does for the command.
pub(super) fn read<'a>(tool: &Tool, args: &[&'a str], asked: &mut Asked) -> Result<Vec<&'a str>, Problem> {
    let mut words = Vec::new();
    let mut args = args.iter().copied();
    while let Some(arg) = args.next() {
        let Some(flag) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            words.push(arg);
            continue;
        };
        let (name, flag, inline) = match flag.strip_prefix('-') {
            Some(long) => {
                let (name, inline) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                (format!("--{name}"), tool.long(name)?, inline)
            }
            None => {
                let letter: String = flag.chars().take(1).collect();
                let rest = &flag[letter.len()..];
                let inline = Some(rest.strip_prefix('=').unwrap_or(rest)).filter(|rest| !rest.is_empty());
                (format!("-{letter}"), tool.short(&letter)?, inline)
            }
        };
        let value = if flag.valued { inline.or_else(|| args.next()) } else { Some(inline.unwrap_or("true")) };
        let value = value.ok_or_else(|| Problem::setting(&name, "has no value: write one"))?;
        // Written so, it is off.
        if !flag.valued && value == "false" {
            continue;
        }
        flag.does.take(&name, value, asked)?;
    }
    Ok(words)
}

impl Tool {
    fn long(&self, name: &str) -> Result<&'static Flag, Problem> {
        if let Some(flag) = self.flags.iter().find(|flag| flag.name == name) {
            return Ok(flag);
        }
        let mut similar = self.flags.iter().filter(|flag| self.abbreviated && flag.name.starts_with(name));
        match (similar.next(), similar.next()) {
            (Some(flag), None) if !name.is_empty() => Ok(flag),
            _ => Err(unknown(&format!("--{name}"))),
        }
    }

    fn short(&self, letter: &str) -> Result<&'static Flag, Problem> {
        let flag = self.flags.iter().find(|flag| flag.short.is_some_and(|short| letter.starts_with(short)));
        flag.ok_or_else(|| unknown(&format!("-{letter}")))
    }
}

fn unknown(name: &str) -> Problem {
    Problem::setting(name, "is not known here: take it out")
}

impl Does {
    fn take(self, name: &str, value: &str, asked: &mut Asked) -> Result<(), Problem> {
        let place = match self {
            Self::Cluster => &mut asked.cluster,
            Self::ClusterId => &mut asked.cluster_id,
            Self::Role => &mut asked.role,
            Self::ExternalId => &mut asked.external_id,
            Self::SessionName => &mut asked.session_name,
            Self::Region => &mut asked.region,
            Self::Nothing => return Ok(()),
            Self::Refused(problem) => return Err(Problem::setting(name, problem)),
        };
        *place = Some(value.to_owned()).filter(|value| !value.is_empty());
        Ok(())
    }
}

impl Tool {
    /// Whether it is the one of the AWS CLI.
    pub(super) fn is_aws(&self) -> bool {
        self.words == AWS.words
    }
}
