//! The stream of a watch: what happened on the server, as late as the network makes it.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::{LEASES, Opened};
use super::faults::{Cut, Slot, Watched};
use super::sabotage;
use super::stage::{Stage, State};

/// Servers send one about every minute.
const BOOKMARKS: Duration = Duration::from_secs(60);

type Frame = Result<Bytes, kube::Error>;

/// One watch, from its answer to its end.
pub(super) struct Stream {
    stage: Stage,
    process: u64,
    slot: Slot,
    opened: Opened,
    initial: VecDeque<(&'static str, Value)>,
    /// No event before: an event never overtakes another one.
    not_before: Instant,
    bookmark: Instant,
    end: Instant,
    cuts: u64,
    over: bool,
    silent: bool,
    /// The end of the list has been told before it was reached.
    hurried: bool,
}

enum Next {
    Send(Frame),
    Wait(Instant),
    Never,
    End,
}

impl Stream {
    pub(super) fn new(stage: &Stage, state: &mut State, process: u64, slot: Slot, mut opened: Opened) -> Self {
        let now = Instant::now();
        let initial = std::mem::take(&mut opened.initial).into();
        let cuts = state.faults.cuts.get(&slot).map_or(0, |(count, _)| *count);
        state.judge(process, |judge| judge.opened(slot, opened.list.is_some()));
        let not_before = now + lag(state, slot, opened.from);
        Self {
            stage: stage.clone(),
            process,
            slot,
            initial,
            not_before,
            bookmark: now + BOOKMARKS,
            end: now + Duration::from_secs(opened.seconds),
            opened,
            cuts,
            over: false,
            silent: false,
            hurried: false,
        }
    }

    pub(super) async fn next(mut self) -> Option<(Frame, Self)> {
        let stage = self.stage.clone();
        let frame = stage.wait(|state| match self.step(state) {
            Next::Send(frame) => Ok(Some(frame)),
            Next::End => Ok(None),
            Next::Wait(until) => Err(Some(until)),
            Next::Never => Err(None),
        });
        let frame = frame.await;
        frame.map(|frame| (frame, self))
    }

    fn step(&mut self, state: &mut State) -> Next {
        if self.over {
            return Next::End;
        }
        if self.silent || !state.lives(self.process) {
            return Next::Never;
        }
        if let Some(until) = state.paused(self.process) {
            return Next::Wait(until);
        }
        let now = Instant::now();
        if let Some((count, Some(how))) = state.faults.cuts.get(&self.slot).copied()
            && count != self.cuts
        {
            return self.cut(state, how);
        }
        if now < self.not_before {
            return Next::Wait(self.not_before);
        }
        if self.opened.list.is_some() && sabotage::is_impatient(self.slot) && !self.hurried {
            self.hurried = true;
            let line = json!({ "type": "BOOKMARK", "object": self.opened.bookmark(self.opened.from, true) });
            return Next::Send(Ok(format!("{line}\n").into()));
        }
        if let Some((kind, object)) = self.initial.pop_front() {
            self.over = kind == "ERROR";
            return self.send(state, kind, &object);
        }
        loop {
            if self.opened.list.is_some_and(|rv| self.opened.from >= rv) {
                self.opened.list = None;
                let end = self.opened.bookmark(self.opened.from, true);
                return self.send(state, "BOOKMARK", &end);
            }
            let Some(change) = state.servers[self.slot.cluster].store.after(self.opened.from) else { break };
            // It is renewed all the time, and only one watch is about it.
            if change.id.plural == LEASES && self.slot.what != Watched::Lease {
                self.opened.from = change.rv;
                continue;
            }
            let at = change.at + lag(state, self.slot, change.rv);
            if now < at {
                self.not_before = at;
                return Next::Wait(at);
            }
            self.opened.from = change.rv;
            if let Some((kind, object)) = self.opened.event(change) {
                if sabotage::is_deaf(self.slot, kind, &object) {
                    state.judge(self.process, |judge| judge.hears(self.slot, kind, &object));
                    continue;
                }
                return self.send(state, kind, &object);
            }
        }
        if now >= self.end {
            return Next::End;
        }
        if self.opened.bookmarks && now >= self.bookmark {
            self.bookmark = now + BOOKMARKS;
            let bookmark = self.opened.bookmark(self.opened.from, false);
            return self.send(state, "BOOKMARK", &bookmark);
        }
        Next::Wait(self.bookmark.min(self.end))
    }

    fn send(&self, state: &mut State, kind: &str, object: &Value) -> Next {
        let Slot { cluster, what } = self.slot;
        state.note(|| {
            let metadata = &object["metadata"];
            format!("watch {cluster} {what:?}: {kind} {} {}", metadata["name"], metadata["resourceVersion"])
        });
        state.judge(self.process, |judge| judge.hears(self.slot, kind, object));
        let line = json!({ "type": kind, "object": object });
        Next::Send(Ok(format!("{line}\n").into()))
    }

    fn cut(&mut self, state: &mut State, how: Cut) -> Next {
        let Slot { cluster, what } = self.slot;
        state.note(|| format!("watch {cluster} {what:?} is cut: {how:?}"));
        match how {
            Cut::End => Next::End,
            Cut::Silence => {
                self.silent = true;
                Next::Never
            }
            Cut::Break => {
                self.over = true;
                Next::Send(Err(kube::Error::Service(io::Error::from(io::ErrorKind::UnexpectedEof).into())))
            }
        }
    }
}

/// How late a watch learns of what made this version.
fn lag(state: &State, slot: Slot, rv: u64) -> Duration {
    let usual = state.scene.part_of(state.scene.lag, &format!("{slot:?}"), rv);
    state.faults.lags.get(&slot).copied().unwrap_or_default() + usual
}
