//! The belt, what lies on it, and where it falls.

use crate::picture::{Picture, Sprite};
use crate::surface::Surface;
use image::RgbImage;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// How a world is made.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldConfig {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// Mean speed of the belt.
    pub speed_mm_s: f64,
    /// The speed swings around its mean by this share of it, from 0 to 0.9, once in [`SWING_US`].
    pub swing: f64,
    /// What the camera sees.
    pub view: View,
    /// Items per minute on average.
    pub rate_per_min: f64,
    /// How items follow each other.
    pub spacing: Spacing,
    /// Items are turned by up to this angle either way.
    pub max_turn_deg: f64,
    /// Downstream of the view, in the order in which items pass them.
    pub gates: Vec<GatePlace>,
    /// Empty belt before the first item comes into view.
    pub lead_in_us: i64,
}

/// In this time the belt's speed swings once up and down.
pub const SWING_US: i64 = 6_000_000;

/// The camera's picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Pixels along the belt.
    pub width_px: u32,
    /// Pixels across the belt.
    pub height_px: u32,
    /// Belt seen along its length; the scale is the same across.
    pub length_mm: f64,
}

impl View {
    /// Scale.
    pub fn px_per_mm(&self) -> f64 {
        f64::from(self.width_px) / self.length_mm
    }
}

/// How items follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spacing {
    /// With at least this much empty belt in between.
    Apart {
        /// The least distance between the end of one item and the start of the next.
        min_gap_mm: f64,
    },
    /// This share of the items touches the one before; the others keep apart.
    Touching {
        /// From 0 to 1.
        share: f64,
        /// For the others.
        min_gap_mm: f64,
    },
}

/// One gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatePlace {
    /// Its middle.
    pub position_mm: f64,
    /// An item falls when its centre is this close (half of it either way) to an open gate.
    pub window_mm: f64,
    /// Time from switching on to being open.
    pub opening_us: i64,
}

/// An item that was put on the belt.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The picture's kind.
    pub kind: usize,
    /// Across the belt.
    pub y_mm: f64,
    /// Along and across the belt.
    pub extent_mm: [f64; 2],
    /// Where it ended, once it has.
    pub landing: Option<Landing>,
    /// How far the belt has to travel for the item's centre to be in the middle of the view.
    travel_mm: f64,
}

/// Where and when an item left the belt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Landing {
    /// Where.
    pub place: Place,
    /// When.
    pub t_us: i64,
}

/// Where items fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Down the chute of the gate with this index.
    Gate(usize),
    /// Off the end of the belt.
    End,
}

/// A world that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WorldError {
    /// Items would have to overlap.
    #[error(
        "{rate_per_min} items/min are too many for a belt of {speed_mm_s} mm/s: items come every \
         {pitch_mm:.0} mm, and need {needed_mm:.0} mm each"
    )]
    TooDense {
        /// Items asked for.
        rate_per_min: f64,
        /// The belt's speed.
        speed_mm_s: f64,
        /// What that gives an item.
        pitch_mm: f64,
        /// What an item needs.
        needed_mm: f64,
    },
    /// A number that must be positive is not.
    #[error("{0} must be above 0")]
    NotPositive(&'static str),
}

/// A conveyor in motion.
pub struct World {
    config: WorldConfig,
    surface: Surface,
    rng: ChaCha8Rng,
    items: Vec<Item>,
    /// Sprites of the items that have not left the view yet, oldest first.
    sprites: VecDeque<(usize, Sprite)>,
    /// Where the next item would be if all came at the same distance.
    schedule_mm: f64,
    gates: Vec<GateLog>,
    /// Items before this index have landed.
    landed: usize,
}

/// When a gate was on.
#[derive(Default)]
struct GateLog {
    since_us: Option<i64>,
    /// Finished times on, from and until.
    spans: Vec<(i64, i64)>,
}

/// A photo of 140 mm turned at random is about this long, and the largest items are not much longer.
const TYPICAL_ITEM_MM: f64 = 190.0;
/// The belt ends this far behind the last gate.
const END_AFTER_MM: f64 = 200.0;

impl World {
    /// Makes an empty belt that starts at time 0.
    ///
    /// # Errors
    /// When the items could not be kept apart, or a number is not positive.
    pub fn new(config: WorldConfig) -> Result<Self, WorldError> {
        for (name, value) in [
            ("the speed", config.speed_mm_s),
            ("the rate", config.rate_per_min),
            ("the length of the view", config.view.length_mm),
            ("the picture's width", config.view.width_px.into()),
            ("the picture's height", config.view.height_px.into()),
            (
                "what the belt's swing leaves of its speed",
                0.91 - config.swing,
            ),
        ] {
            if value.is_nan() || value <= 0.0 {
                return Err(WorldError::NotPositive(name));
            }
        }
        if let Spacing::Apart { min_gap_mm } = config.spacing {
            let (pitch_mm, needed_mm) = (config.pitch_mm(), TYPICAL_ITEM_MM + min_gap_mm);
            if pitch_mm < needed_mm {
                return Err(WorldError::TooDense {
                    rate_per_min: config.rate_per_min,
                    speed_mm_s: config.speed_mm_s,
                    pitch_mm,
                    needed_mm,
                });
            }
        }
        let (width, height) = (config.view.width_px, config.view.height_px);
        let lead_in_mm = config.speed_mm_s * config.lead_in_us as f64 / 1e6;
        Ok(Self {
            surface: Surface::new(
                config.seed,
                width as usize,
                height as usize,
                config.view.px_per_mm(),
            ),
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            items: Vec::new(),
            sprites: VecDeque::new(),
            schedule_mm: lead_in_mm + config.view.length_mm / 2.0 + TYPICAL_ITEM_MM / 2.0,
            gates: config.gates.iter().map(|_| GateLog::default()).collect(),
            landed: 0,
            config,
        })
    }

    /// How it was made.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// Every item so far, in the order of placing.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Where the centre of an item is at `t_us` if nothing takes it off the belt.
    pub fn position_mm(&self, item: usize, t_us: i64) -> f64 {
        self.config.travel_mm(t_us) - self.items[item].travel_mm
    }

    /// When the centre of an item is at `x_mm`.
    pub fn time_at_us(&self, item: usize, x_mm: f64) -> i64 {
        self.config.time_us(self.items[item].travel_mm + x_mm)
    }

    /// The item whose centre is nearest to `x_mm` at `t_us`, within `reach_mm`. Items come in single
    /// file, so that their places across the belt do not matter.
    pub fn item_at(&self, t_us: i64, x_mm: f64, reach_mm: f64) -> Option<usize> {
        let travel_mm = self.config.travel_mm(t_us) - x_mm;
        let after = self
            .items
            .partition_point(|item| item.travel_mm < travel_mm);
        let apart_mm = |index: &usize| (self.items[*index].travel_mm - travel_mm).abs();
        let nearest = (after.saturating_sub(1)..(after + 1).min(self.items.len()))
            .min_by(|a, b| apart_mm(a).total_cmp(&apart_mm(b)));
        nearest.filter(|index| apart_mm(index) <= reach_mm)
    }

    /// Whether an item has to be placed before the frame at `t_us` can be rendered.
    pub fn wants_item(&self, t_us: i64) -> bool {
        let entry_mm = self.config.travel_mm(t_us) + self.config.view.length_mm / 2.0;
        let scheduled_mm = self.schedule_mm - self.config.jitter_mm();
        // The next one may touch the last one, wherever it should be.
        let beside_last_mm = match (self.config.spacing, self.items.last()) {
            (Spacing::Touching { .. }, Some(last)) => last.travel_mm,
            _ => scheduled_mm,
        };
        scheduled_mm.min(beside_last_mm) - 2.0 * TYPICAL_ITEM_MM < entry_mm
    }

    /// Puts the next item on the belt, upstream of the view; returns its index in [`World::items`].
    pub fn place(&mut self, picture: &Picture) -> usize {
        let scale = self.config.view.px_per_mm();
        let turn_rad = self.config.max_turn_deg.to_radians() * self.signed_unit();
        let sprite = Sprite::new(picture, scale, turn_rad);
        let extent_mm = sprite.extent_px.map(|px| px / scale);
        let travel_mm = self.next_travel_mm(extent_mm[0]);
        let belt_mm = f64::from(self.config.view.height_px) / scale;
        let room_mm = ((belt_mm - extent_mm[1]) / 2.0 - 8.0).max(0.0);
        let item = Item {
            kind: picture.kind,
            y_mm: room_mm * self.signed_unit(),
            extent_mm,
            landing: None,
            travel_mm,
        };
        self.schedule_mm += self.config.pitch_mm();
        self.items.push(item);
        let index = self.items.len() - 1;
        self.sprites.push_back((index, sprite));
        index
    }

    /// Renders what the camera sees at `t_us`.
    pub fn render(&mut self, t_us: i64, frame: &mut RgbImage) {
        let view = self.config.view;
        if frame.dimensions() != (view.width_px, view.height_px) {
            *frame = RgbImage::new(view.width_px, view.height_px);
        }
        let travel_mm = self.config.travel_mm(t_us);
        let scale = view.px_per_mm();
        let gone_mm = view.length_mm / 2.0 + 2.0 * TYPICAL_ITEM_MM;
        while let Some((index, _)) = self.sprites.front()
            && travel_mm - self.items[*index].travel_mm > gone_mm
        {
            self.sprites.pop_front();
        }
        let buffer: &mut [u8] = frame;
        self.surface
            .paint((travel_mm * scale).round() as i64, buffer);
        for (index, sprite) in &self.sprites {
            let item = &self.items[*index];
            let x = (travel_mm - item.travel_mm) * scale + f64::from(view.width_px) / 2.0;
            let y = item.y_mm * scale + f64::from(view.height_px) / 2.0;
            let corner = [x - sprite.centre_px[0], y - sprite.centre_px[1]].map(|v| v.round());
            blend(&self.surface, sprite, corner.map(|v| v as i64), buffer);
        }
        self.surface.expose(t_us, buffer);
    }

    /// Switches a gate. Calls for one gate come in the order of time; a gate that does not exist, or
    /// is so already, is left alone.
    pub fn set_gate(&mut self, gate: usize, on: bool, t_us: i64) {
        let Some(log) = self.gates.get_mut(gate) else {
            return;
        };
        match (on, log.since_us) {
            (true, None) => log.since_us = Some(t_us),
            (false, Some(since)) => {
                log.since_us = None;
                log.spans.push((since, t_us));
            }
            _ => {}
        }
    }

    /// Lets everything fall that has to fall until `t_us`. All switching before it must be known.
    pub fn settle(&mut self, t_us: i64) {
        let end_mm = self.end_mm();
        for index in self.landed..self.items.len() {
            if self.items[index].landing.is_some() {
                continue;
            }
            if self.time_at_us(index, -self.config.view.length_mm) > t_us {
                break;
            }
            self.items[index].landing = self.fall(index, t_us, end_mm);
        }
        while self
            .items
            .get(self.landed)
            .is_some_and(|i| i.landing.is_some())
        {
            self.landed += 1;
        }
        if let Some(oldest) = self.landed.checked_sub(1) {
            let needed_us = self.time_at_us(oldest, -self.config.view.length_mm);
            for log in &mut self.gates {
                log.spans.retain(|(_, off)| *off >= needed_us);
            }
        }
    }

    /// When every item placed so far has left the belt.
    pub fn cleared_us(&self) -> i64 {
        let last = self.items.len().checked_sub(1);
        last.map_or(0, |index| self.time_at_us(index, self.end_mm()) + 1)
    }

    fn fall(&self, item: usize, t_us: i64, end_mm: f64) -> Option<Landing> {
        for (gate, (place, log)) in self.config.gates.iter().zip(&self.gates).enumerate() {
            let enters_us = self.time_at_us(item, place.position_mm - place.window_mm / 2.0);
            let leaves_us = self.time_at_us(item, place.position_mm + place.window_mm / 2.0);
            let running = log.since_us.map(|since| (since, t_us.max(since)));
            let mut opened = log.spans.iter().copied().chain(running);
            let hit = opened.find_map(|(on, off)| {
                let from = (on + place.opening_us).max(enters_us);
                (from <= off.min(leaves_us) && from <= t_us).then_some(from)
            });
            if let Some(t_us) = hit {
                let place = Place::Gate(gate);
                return Some(Landing { place, t_us });
            }
            if leaves_us > t_us {
                return None;
            }
        }
        let end_us = self.time_at_us(item, end_mm);
        (end_us <= t_us).then_some(Landing {
            place: Place::End,
            t_us: end_us,
        })
    }

    fn end_mm(&self) -> f64 {
        let last = self.config.gates.iter().map(|g| g.position_mm);
        last.fold(self.config.view.length_mm / 2.0, f64::max) + END_AFTER_MM
    }

    /// A seeded place near the schedule, behind the item before.
    fn next_travel_mm(&mut self, length_mm: f64) -> f64 {
        let jitter_mm = self.config.jitter_mm() * self.signed_unit();
        let wished_mm = self.schedule_mm + jitter_mm;
        let chance: f64 = self.rng.random();
        let Some(last) = self.items.last() else {
            return wished_mm.max(self.schedule_mm);
        };
        let touching_mm = last.travel_mm + (last.extent_mm[0] + length_mm) / 2.0;
        match self.config.spacing {
            Spacing::Touching { share, .. } if chance < share => touching_mm,
            Spacing::Apart { min_gap_mm } | Spacing::Touching { min_gap_mm, .. } => {
                wished_mm.max(touching_mm + min_gap_mm)
            }
        }
    }

    fn signed_unit(&mut self) -> f64 {
        2.0 * self.rng.random::<f64>() - 1.0
    }
}

impl WorldConfig {
    /// How far the belt has travelled by `t_us`: the integral of `speed (1 + swing sin(2 pi t / SWING_US))`.
    pub fn travel_mm(&self, t_us: i64) -> f64 {
        let rate_per_us = std::f64::consts::TAU / SWING_US as f64;
        let swung_us = self.swing * (1.0 - (rate_per_us * t_us as f64).cos()) / rate_per_us;
        self.speed_mm_s * (t_us as f64 + swung_us) / 1e6
    }

    /// Undoes [`WorldConfig::travel_mm`], which always rises, to the microsecond.
    fn time_us(&self, travel_mm: f64) -> i64 {
        let steady_us = (travel_mm / self.speed_mm_s * 1e6).round() as i64;
        if self.swing == 0.0 {
            return steady_us;
        }
        let (mut low, mut high) = (steady_us - SWING_US, steady_us + SWING_US);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.travel_mm(middle) < travel_mm {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn pitch_mm(&self) -> f64 {
        self.speed_mm_s * 60.0 / self.rate_per_min
    }

    fn jitter_mm(&self) -> f64 {
        self.pitch_mm() * 0.35
    }
}

/// Lays a sprite over the frame, its corner at `corner`.
fn blend(surface: &Surface, sprite: &Sprite, corner: [i64; 2], frame: &mut [u8]) {
    let (width, height) = (surface.width() as i64, surface.height() as i64);
    let columns = (-corner[0]).max(0)..i64::from(sprite.pixels.width()).min(width - corner[0]);
    for sy in (-corner[1]).max(0)..i64::from(sprite.pixels.height()).min(height - corner[1]) {
        for sx in columns.clone() {
            let [r, g, b, a] = sprite.pixels.get_pixel(sx as u32, sy as u32).0;
            if a == 0 {
                continue;
            }
            let at = ((sy + corner[1]) * width + sx + corner[0]) as usize * 3;
            let below = 255 - u32::from(a);
            for (value, over) in frame[at..at + 3].iter_mut().zip([r, g, b]) {
                let mixed = u32::from(over) + (u32::from(*value) * below + 127) / 255;
                *value = mixed.min(255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests;
