//! One identity per item, from entering the view to leaving the belt.
//!
//! Items lie still on the belt, so an item keeps its place on it (see `motion`): detections of later
//! frames are matched by the places of their front and rear ends. An end that the view cuts off says
//! nothing and is left out.

use super::detect::Detection;
use super::event::End;
use super::geometry::{PixelBox, Span};
use super::vote::Votes;
use boards::Destination;
use serde::{Deserialize, Serialize};

/// What has become of a track.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Not decided yet.
    Watched,
    /// Decided, and waiting for its gate.
    Planned(usize),
    /// Its gate has been told when to open, and has not closed yet.
    Firing(usize),
    /// It is to reach the end of the belt, and has not left the view yet.
    Passing(End),
    /// Done; kept because it may still lie on the belt, on its way there.
    Ended(Destination),
}

/// One item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Track {
    pub(crate) id: u32,
    front: Option<Edge>,
    rear: Option<Edge>,
    side_mm: [f64; 2],
    /// Frames in which it was seen, those in which all of it was in view, and those of them in which
    /// it may have been two items.
    seen: u32,
    whole: u32,
    crowded: u32,
    /// Frames in a row in which it should have been seen and was not.
    missed: u32,
    /// Frames in a row in which something else was seen in its place.
    disputed: u32,
    /// Where it is in the frame just handled, if that view can be classified.
    pub(crate) view: Option<PixelBox>,
    pub(crate) votes: Votes,
    /// Views that were sent to be classified, and those of them still under way.
    pub(crate) asked: u32,
    pub(crate) in_flight: u32,
    pub(crate) state: State,
}

/// The running mean of the place of one end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Edge {
    place_mm: f64,
    count: f64,
}

impl Edge {
    fn new(place_mm: f64) -> Self {
        Self {
            place_mm,
            count: 1.0,
        }
    }

    fn add(&mut self, place_mm: f64) {
        self.count = (self.count + 1.0).min(12.0);
        self.place_mm += (place_mm - self.place_mm) / self.count;
    }
}

/// Ends further apart than this are not of the same item.
const MATCH_MM: f64 = 15.0;
/// A detection whose middle is this far beyond an item's end is not a part of it.
const PART_MM: f64 = 8.0;
/// Half the length of an item of which only one end has been seen.
const ASSUMED_HALF_MM: f64 = 70.0;
/// Frames until a track counts as an item, and missed frames until a doubtful one is dropped.
const CONFIRMED: u32 = 2;
const DOUBTFUL_MISSES: u32 = 3;
/// Frames in a row after which a track believes what it sees rather than what it saw.
const DISPUTES: u32 = 3;

impl Track {
    fn new(id: u32, span: &Span, travel_mm: f64) -> Self {
        let edge = |mm: Option<f64>| mm.map(|mm| Edge::new(mm - travel_mm));
        Self {
            id,
            front: edge(span.front_mm),
            rear: edge(span.rear_mm),
            side_mm: span.side_mm,
            seen: 1,
            whole: u32::from(span.is_whole()),
            crowded: 0,
            missed: 0,
            disputed: 0,
            view: None,
            votes: Votes::default(),
            asked: 0,
            in_flight: 0,
            state: State::Watched,
        }
    }

    /// Whether it has been seen often enough to be an item.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.seen >= CONFIRMED
    }

    /// Whether it is an item, or was seen too shortly to tell.
    pub(crate) fn may_be_item(&self) -> bool {
        self.is_confirmed() || self.whole > 0
    }

    /// Whether it looks like two items in every view of all of it.
    pub(crate) fn is_crowded(&self) -> bool {
        self.whole > 0 && self.crowded == self.whole
    }

    /// Whether it has turned out to be a part of something larger, of which it was what came into
    /// view first: it has never been seen whole, and where it should be is something else.
    fn is_part(&self) -> bool {
        let never_whole = self.whole == 0 && self.disputed >= DISPUTES;
        self.disputed > 0 && (never_whole || !self.is_confirmed())
    }

    /// The places of rear and front; an end that was never seen is assumed.
    fn ends_mm(&self) -> [f64; 2] {
        match (self.rear, self.front) {
            (Some(rear), Some(front)) => [rear.place_mm, front.place_mm],
            (None, Some(front)) => [front.place_mm - 2.0 * ASSUMED_HALF_MM, front.place_mm],
            (Some(rear), None) => [rear.place_mm, rear.place_mm + 2.0 * ASSUMED_HALF_MM],
            (None, None) => [0.0, 0.0],
        }
    }

    /// The place of its upstream end.
    pub(crate) fn rear_mm(&self) -> f64 {
        self.ends_mm()[0]
    }

    /// The place of its centre.
    pub(crate) fn place_mm(&self) -> f64 {
        let [rear, front] = self.ends_mm();
        (rear + front) / 2.0
    }

    /// Its length along the belt.
    pub(crate) fn length_mm(&self) -> f64 {
        let [rear, front] = self.ends_mm();
        front - rear
    }

    /// How far the ends are from those of a detection; `None` when it is out of the question.
    fn distance_mm(&self, span: &Span, travel_mm: f64) -> Option<f64> {
        let apart =
            |edge: Option<Edge>, mm: Option<f64>| Some((edge?.place_mm - (mm? - travel_mm)).abs());
        let front = apart(self.front, span.front_mm);
        let rear = apart(self.rear, span.rear_mm);
        let distance = match (front, rear) {
            (Some(a), Some(b)) => a.max(b),
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => return None,
        };
        (distance <= MATCH_MM && self.is_beside(span)).then_some(distance)
    }

    fn is_beside(&self, span: &Span) -> bool {
        self.side_mm[0] < span.side_mm[1] && span.side_mm[0] < self.side_mm[1]
    }

    /// Whether the detection covers the track's centre.
    fn is_covered_by(&self, span: &Span, travel_mm: f64) -> bool {
        let centre_mm = self.place_mm() + travel_mm;
        (span.seen_mm[0]..=span.seen_mm[1]).contains(&centre_mm) && self.is_beside(span)
    }

    /// Whether the middle of the detection lies on the track.
    fn covers(&self, span: &Span, travel_mm: f64) -> bool {
        let [rear, front] = self.ends_mm().map(|place_mm| place_mm + travel_mm);
        let middle_mm = (span.seen_mm[0] + span.seen_mm[1]) / 2.0;
        (rear - PART_MM..=front + PART_MM).contains(&middle_mm) && self.is_beside(span)
    }

    fn follow(&mut self, span: &Span, travel_mm: f64) {
        for (edge, mm) in [
            (&mut self.front, span.front_mm),
            (&mut self.rear, span.rear_mm),
        ] {
            match (edge.as_mut(), mm) {
                (Some(edge), Some(mm)) => edge.add(mm - travel_mm),
                (None, Some(mm)) => *edge = Some(Edge::new(mm - travel_mm)),
                _ => {}
            }
        }
        self.side_mm = if span.is_whole() {
            span.side_mm
        } else {
            let ([a, b], [c, d]) = (self.side_mm, span.side_mm);
            [a.min(c), b.max(d)]
        };
        self.seen += 1;
        self.whole += u32::from(span.is_whole());
        self.missed = 0;
        self.disputed = 0;
    }

    fn restart(&mut self, span: &Span, travel_mm: f64) {
        (self.front, self.rear) = (None, None);
        self.side_mm = span.side_mm;
        self.follow(span, travel_mm);
    }
}

/// All items between the entry of the view and the end of the belt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tracks {
    pub(crate) list: Vec<Track>,
    next_id: u32,
    /// Per detection, the track it belongs to.
    owner: Vec<Option<usize>>,
    pairs: Vec<(f64, usize, usize)>,
}

impl Tracks {
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Track> {
        self.list.iter_mut().find(|t| t.id == id)
    }

    /// Takes in what was seen in a frame when the belt had travelled `travel_mm`; a span per
    /// detection.
    pub(crate) fn update(
        &mut self,
        travel_mm: f64,
        detections: &[Detection],
        spans: &[Span],
        half_view_mm: f64,
    ) {
        self.owner.clear();
        self.owner.resize(detections.len(), None);
        self.list.iter_mut().for_each(|t| t.view = None);
        self.match_nearest(travel_mm, detections, spans);
        self.settle_unmatched(travel_mm, spans, half_view_mm);
        self.start_new(travel_mm, spans);
        self.list.retain(|t| {
            let open = t.state == State::Watched;
            let doubtful = !t.is_confirmed() && t.missed >= DOUBTFUL_MISSES;
            !(doubtful || open && t.is_part())
        });
    }

    fn match_nearest(&mut self, travel_mm: f64, detections: &[Detection], spans: &[Span]) {
        self.pairs.clear();
        for (t, track) in self.list.iter().enumerate() {
            for (d, span) in spans.iter().enumerate() {
                if let Some(distance_mm) = track.distance_mm(span, travel_mm) {
                    self.pairs.push((distance_mm, t, d));
                }
            }
        }
        self.pairs
            .sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        for &(_, t, d) in &self.pairs {
            let taken = self.owner.contains(&Some(t));
            if self.owner[d].is_none() && !taken {
                self.owner[d] = Some(t);
                self.list[t].follow(&spans[d], travel_mm);
                if spans[d].is_whole() {
                    self.list[t].view = Some(detections[d].area);
                    self.list[t].crowded += u32::from(detections[d].crowded);
                }
            }
        }
    }

    /// Tracks that no detection fits: hidden in a larger one, or not seen at all.
    fn settle_unmatched(&mut self, travel_mm: f64, spans: &[Span], half_length_mm: f64) {
        for t in 0..self.list.len() {
            if self.owner.contains(&Some(t)) {
                continue;
            }
            let covering =
                (0..spans.len()).find(|&d| self.list[t].is_covered_by(&spans[d], travel_mm));
            let Some(d) = covering else {
                let [rear, front] = self.list[t].ends_mm().map(|mm| mm + travel_mm);
                if rear > -half_length_mm && front < half_length_mm {
                    self.list[t].missed += 1;
                }
                continue;
            };
            self.list[t].disputed += 1;
            if let Some(other) = self.owner[d] {
                if !self.list[t].is_part() {
                    self.list[other].view = None;
                }
                continue;
            }
            let span = spans[d];
            let mut hidden = self
                .list
                .iter()
                .filter(|t| t.is_covered_by(&span, travel_mm));
            let alone = hidden.next().is_some() && hidden.next().is_none();
            let track = &mut self.list[t];
            if alone && track.disputed >= DISPUTES && track.state == State::Watched {
                track.restart(&span, travel_mm);
                self.owner[d] = Some(t);
            }
        }
    }

    fn start_new(&mut self, travel_mm: f64, spans: &[Span]) {
        let known = self.list.len();
        for (span, owner) in spans.iter().zip(&self.owner) {
            let explained = owner.is_some()
                || self.list[..known]
                    .iter()
                    .any(|t| t.covers(span, travel_mm) || t.is_covered_by(span, travel_mm));
            let has_end = span.front_mm.is_some() || span.rear_mm.is_some();
            if !explained && has_end {
                self.list.push(Track::new(self.next_id, span, travel_mm));
                self.next_id = self.next_id.wrapping_add(1);
            }
        }
    }
}
