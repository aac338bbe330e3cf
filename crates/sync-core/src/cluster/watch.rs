//! List and watch, our own: kube's `watcher` shows no version of a list and hammers a server that ends each watch at
//! once (691,792 requests in 2 s, measured).
//!
//! A list comes as a streaming one (the watch begins with it) or, from a server that refuses that, in pages. Either
//! is a consistent read. What follows it is a watch that is resumed from the last version seen for as long as the
//! server remembers that, so that there is no second list but to recover.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::answer;
use super::lines::Lines;
use super::pace::{Pace, PageSize};
use super::query::Query;
use super::request::{self, Limits};
use super::wire::{Event, Head, Page};
use crate::contract::object::Rv;
use crate::fault::Fault;
use crate::index::feed::Feed;
use crate::rng::Rng;

/// A server ends a watch after so long, and up to [`SPREAD`] seconds more. Below the idle timeout of an AWS network
/// load balancer (350 s).
const WATCH_SECONDS: u64 = 290;
/// So that the watches of many clusters are not resumed in step.
const SPREAD: u64 = 30;
/// A server that has not ended a watch that much after its time has lost it.
const OVERDUE: Duration = Duration::from_secs(5);
/// A stream of that age counts as a success; younger ones do only by what they bring.
const LASTING: Duration = Duration::from_secs(10);
/// Longest silence inside a streaming list. A server that cannot finish one is asked for pages.
const LIST_SILENCE: Duration = Duration::from_secs(30);
/// After so many refusals to resume there is a new list.
const REFUSALS: u32 = 5;
/// For the answer to begin.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum News<T> {
    /// A step of the list, or a change. A change inside a list is possible too: `Listed` once more, or `Gone`.
    Feed(Feed<T>),
    /// An attempt failed; the next one comes by itself.
    Trouble(Fault),
    /// The watch works again, after a `Trouble`.
    Well,
}

/// Lists and watches until nobody listens at the other end of `to`.
///
/// `decode` makes of an object what is kept of it, or nothing; `wrap` makes what is sent. A full channel holds the
/// watch up, and with it the server: nothing piles up here. Equal seeds give equal delays.
pub async fn watch<T, M, D, W>(client: kube::Client, query: Query, seed: u64, decode: D, wrap: W, to: mpsc::Sender<M>)
where
    D: Fn(&RawValue) -> Option<T>,
    W: Fn(News<T>) -> M,
{
    let listener = to.clone();
    let mut watch = Watch {
        client,
        query,
        decode,
        wrap,
        to,
        pace: Pace::new(Rng::new(seed)),
        page: PageSize::default(),
        streaming_list: true,
        version: None,
        in_trouble: false,
        knows_bookmarks: false,
    };
    tokio::select! {
        biased;
        () = listener.closed() => {}
        _ = watch.run() => {}
    }
}

struct Watch<M, D, W> {
    client: kube::Client,
    query: Query,
    decode: D,
    wrap: W,
    to: mpsc::Sender<M>,
    pace: Pace,
    page: PageSize,
    /// Until the server refuses it.
    streaming_list: bool,
    /// Where to resume; `None` asks for a list.
    version: Option<Rv>,
    in_trouble: bool,
    /// The server has sent a bookmark before.
    knows_bookmarks: bool,
}

/// Why an attempt ended early.
enum Stop {
    /// Nobody listens any more.
    Deaf,
    Failed(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// How an attempt ended well.
enum End {
    /// Go on at once.
    Go,
    /// Go on, but not at once: a server that ends each watch early must not be hammered.
    Early,
}

/// One stream: from its request to its end.
struct Stream {
    /// The list is not complete.
    listing: bool,
    /// `Init` is sent.
    begun: bool,
    /// Of the watch, which in a streaming list begins when the list is complete.
    since: Instant,
    /// The watch brought something.
    progress: bool,
}

impl<T, M, D, W> Watch<M, D, W>
where
    D: Fn(&RawValue) -> Option<T>,
    W: Fn(News<T>) -> M,
{
    async fn run(&mut self) -> Stop {
        loop {
            let attempt = match self.version {
                None if !self.streaming_list => self.list().await,
                from => self.stream(from).await,
            };
            match attempt {
                Ok(End::Go) => {}
                Ok(End::Early) => sleep(self.pace.next_delay(None)).await,
                Err(Stop::Deaf) => return Stop::Deaf,
                Err(Stop::Failed(fault)) => {
                    debug!(path = self.query.path, reason = fault.reason(), "a list or watch failed");
                    if self.needs_list(&fault) {
                        self.version = None;
                    }
                    let asked = if let Fault::Throttled(asked) = fault { asked } else { None };
                    self.in_trouble = true;
                    if let Err(stop) = self.deliver(News::Trouble(fault)).await {
                        return stop;
                    }
                    sleep(self.pace.next_delay(asked)).await;
                }
            }
        }
    }

    /// Whether to resume would fail again.
    const fn needs_list(&self, fault: &Fault) -> bool {
        match fault {
            // A line that cannot be read stands there still.
            Fault::Expired | Fault::Odd(0 | 200) => true,
            // Perhaps the server has its reasons against the version.
            Fault::Rejected(_) | Fault::LostRace | Fault::NotFound => self.pace.attempts() >= REFUSALS,
            _ => false,
        }
    }

    async fn deliver(&self, news: News<T>) -> Result<(), Stop> {
        self.to.send((self.wrap)(news)).await.map_err(|_| Stop::Deaf)
    }

    async fn feed(&self, feed: Feed<T>) -> Result<(), Stop> {
        self.deliver(News::Feed(feed)).await
    }

    /// The watch works. A list is no sign of that: it works too when every watch fails, and would be repeated fast.
    async fn well(&mut self) -> Result<(), Stop> {
        self.pace.reset();
        if std::mem::take(&mut self.in_trouble) { self.deliver(News::Well).await } else { Ok(()) }
    }

    /// A list in pages.
    async fn list(&mut self) -> Result<End, Stop> {
        let (mut next, mut version) = (None::<String>, None);
        loop {
            let request = self.query.list(self.page.limit(), next.as_deref())?;
            let body = match request::send(&self.client, request, Limits::PAGE).await {
                Ok(body) => body,
                Err(fault) => {
                    // Perhaps it was too large.
                    if fault == Fault::Odd(200) {
                        self.page.learn(usize::MAX);
                    }
                    return Err(fault.into());
                }
            };
            self.page.learn(body.len());
            let page: Page<'_> = serde_json::from_slice(&body).map_err(|_| Fault::Odd(200))?;
            let of_page = Rv::parse(&page.metadata.resource_version).ok_or(Fault::Odd(200))?;
            if version.is_none() {
                self.feed(Feed::Init).await?;
            }
            // All pages are of one version.
            let version = *version.get_or_insert(of_page);
            for item in page.items.into_iter().flatten() {
                if let Some(object) = (self.decode)(item) {
                    self.feed(Feed::Listed(object)).await?;
                }
            }
            next = page.metadata.r#continue.filter(|next| !next.is_empty());
            if next.is_none() {
                self.version = Some(version);
                self.feed(Feed::InitDone(version)).await?;
                return Ok(End::Go);
            }
        }
    }

    /// A watch, from a version on or from a streaming list on.
    async fn stream(&mut self, from: Option<Rv>) -> Result<End, Stop> {
        let seconds = WATCH_SECONDS + self.pace.below(SPREAD);
        let request = self.query.watch(from, seconds)?;
        let response = match request::start(&self.client, request, START_DEADLINE).await {
            Ok(response) => response,
            Err(refusal) if from.is_none() && matches!(refusal.code, 400 | 422) => {
                debug!(path = self.query.path, "the server has no streaming lists");
                self.streaming_list = false;
                return Ok(End::Go);
            }
            Err(refusal) => return Err(refusal.fault.into()),
        };
        let (mut body, mut lines) = (response.into_body(), Lines::default());
        let mut stream = Stream { listing: from.is_none(), begun: false, since: Instant::now(), progress: false };
        let mut heard = Instant::now();
        loop {
            let silence = if stream.listing { LIST_SILENCE } else { Duration::from_secs(seconds) + OVERDUE };
            let unsettled = !stream.listing && stream.since.elapsed() < LASTING;
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = sleep_until(heard + silence) => return Err(self.broken(&stream, "the watch is silent")),
                () = sleep_until(stream.since + LASTING), if unsettled => {
                    self.well().await?;
                    continue;
                }
            };
            self.query.heard.now();
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(answer::transport(&error).into()),
                None => return self.ended(&stream),
            };
            lines.push(frame.data_ref().map_or(&[], |data| data));
            while let Some(line) = lines.next_line().map_err(|_| Fault::Odd(200))? {
                self.event(&mut stream, &line).await?;
            }
            // Not before: whoever waits for the listener has not listened for the server.
            heard = Instant::now();
        }
    }

    /// The server ended the stream in order.
    fn ended(&mut self, stream: &Stream) -> Result<End, Stop> {
        if stream.listing {
            return Err(self.broken(stream, "the list ended before it was complete"));
        }
        let lasted = stream.since.elapsed();
        if stream.progress || lasted >= LASTING {
            // A server whose store was restored waits for versions that are far ahead of it, in silence. Else there
            // is a bookmark every minute.
            if !stream.progress && self.knows_bookmarks && lasted >= Duration::from_secs(WATCH_SECONDS) {
                debug!(path = self.query.path, "no bookmark in a whole watch: a new list");
                self.version = None;
            }
            return Ok(if lasted >= LASTING { End::Go } else { End::Early });
        }
        Err(self.broken(stream, "the server ended the watch at once"))
    }

    fn broken(&mut self, stream: &Stream, why: &str) -> Stop {
        if stream.listing {
            self.streaming_list = false;
        }
        Stop::Failed(Fault::NoAnswer(why.to_owned()))
    }

    async fn event(&mut self, stream: &mut Stream, line: &[u8]) -> Result<(), Stop> {
        let event: Event<'_> = serde_json::from_slice(line).map_err(|_| Fault::Odd(200))?;
        let raw = event.object;
        if event.kind == "ERROR" {
            return Err(answer::of_error_event(raw.get().as_bytes()).into());
        }
        let Head { metadata: head } = serde_json::from_str(raw.get()).unwrap_or_default();
        let version = head.resource_version.as_deref().and_then(Rv::parse);
        if stream.listing {
            return self
                .listed(stream, &event.kind, raw, version, head.annotations.is_some_and(|a| a.end_of_list()))
                .await;
        }
        match (version, self.version) {
            // An object that cannot be understood.
            (None, _) => {}
            // Backwards: another store is behind this address now, or an older copy of it.
            (Some(version), Some(last)) if version < last => return Err(Fault::Expired.into()),
            (Some(_), _) => self.version = version,
        }
        stream.progress = true;
        self.well().await?;
        match &*event.kind {
            "ADDED" | "MODIFIED" => self.object(raw, Feed::Applied).await,
            "DELETED" => self.object(raw, Feed::Gone).await,
            "BOOKMARK" => {
                self.knows_bookmarks = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An event inside a streaming list.
    async fn listed(
        &mut self,
        stream: &mut Stream,
        kind: &str,
        raw: &RawValue,
        version: Option<Rv>,
        end: bool,
    ) -> Result<(), Stop> {
        let is_end = kind == "BOOKMARK" && end;
        if !stream.begun && (is_end || kind != "BOOKMARK") {
            stream.begun = true;
            self.feed(Feed::Init).await?;
        }
        match kind {
            "BOOKMARK" if is_end => {
                let version = version.ok_or(Fault::Odd(200))?;
                (stream.listing, stream.since) = (false, Instant::now());
                self.version = Some(version);
                self.feed(Feed::InitDone(version)).await
            }
            "ADDED" | "MODIFIED" => self.object(raw, Feed::Listed).await,
            // The state that was listed is a moment old when the list ends.
            "DELETED" => self.object(raw, Feed::Gone).await,
            _ => Ok(()),
        }
    }

    async fn object(&self, raw: &RawValue, feed: impl FnOnce(T) -> Feed<T>) -> Result<(), Stop> {
        match (self.decode)(raw) {
            Some(object) => self.feed(feed(object)).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
