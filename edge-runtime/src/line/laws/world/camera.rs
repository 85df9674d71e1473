//! What is put on the belt, and what the camera and the classifier say of it.

use super::*;

impl World {
    pub(super) fn frame(&mut self, captured_us: i64) {
        self.add(captured_us + FRAME_US, Due::Frame);
        self.place_things(captured_us);
        if captured_us < self.blind_until_us || self.chance(self.trouble.lost_frames) {
            return;
        }
        let detections = self.detections(captured_us);
        let delay_us = self.rng.random_range(5_000..=self.trouble.frame_delay_us);
        // Frames do not overtake each other.
        let t_us = (captured_us + delay_us).max(self.seen_us);
        self.seen_us = t_us;
        if !self.chance(self.trouble.stale_stamps) {
            self.stamp_us = captured_us;
        }
        let captured_us = self.stamp_us;
        let event = Event::Frame {
            t_us,
            captured_us,
            detections,
        };
        if self.chance(self.trouble.doubled_frames) {
            self.tell(event.clone());
        }
        self.tell(event);
    }

    fn place_things(&mut self, t_us: i64) {
        let entry_mm = ENTRY_MM - self.belt.travel_mm(t_us);
        while self.left > 0 {
            let Trouble {
                lengths_mm: (short, long),
                min_gap_mm,
                ..
            } = self.trouble;
            let rear_mm = self.things.back().map(|t| t.place_mm - t.length_mm / 2.0);
            let length_mm = self.rng.random_range(short..long);
            let more_mm = match (self.trouble.bursts, self.burst) {
                (false, _) => self.rng.random_range(0.0..long),
                (true, 0) => 800.0,
                (true, _) => 0.0,
            };
            let gap_mm = min_gap_mm + more_mm;
            let front_mm = rear_mm.map_or(entry_mm, |rear| (rear - gap_mm).min(entry_mm + 300.0));
            if front_mm < entry_mm {
                break;
            }
            self.left -= 1;
            self.burst = match self.burst {
                0 => self.rng.random_range(1..10),
                burst => burst - 1,
            };
            self.outcome.things += 1;
            let thing = Thing {
                id: self.outcome.things,
                kind: self.rng.random_range(0..CATEGORIES),
                place_mm: front_mm - length_mm / 2.0,
                length_mm,
                y_mm: self.rng.random_range(-60.0..60.0),
                seen: 0,
                verdicts: Vec::new(),
                shown_by: Vec::new(),
                fell: None,
            };
            self.things.push_back(thing);
        }
    }

    /// Boxes of what is in view; things that touch make one box.
    fn detections(&mut self, captured_us: i64) -> Vec<Detection> {
        let travel_mm = self.belt.travel_mm(captured_us);
        let half_mm = VIEW_MM / 2.0 - 5.0;
        let mut boxes: Vec<[f64; 4]> = Vec::new();
        for index in 0..self.things.len() {
            let thing = &self.things[index];
            let (x, y_mm) = (thing.place_mm + travel_mm, thing.y_mm);
            let half = thing.length_mm / 2.0;
            let (front, rear) = (x + half, x - half);
            if rear > half_mm || thing.fell.is_some() {
                continue;
            }
            if front < -half_mm {
                break;
            }
            if self.chance(self.trouble.lost_detections) {
                continue;
            }
            self.things[index].seen += 1;
            match boxes.last_mut() {
                Some(last) if last[0] - front < 5.0 => {
                    last[0] = last[0].min(rear);
                    last[2] = last[2].min(y_mm - 50.0);
                    last[3] = last[3].max(y_mm + 50.0);
                }
                _ => boxes.push([rear, front, y_mm - 50.0, y_mm + 50.0]),
            }
        }
        let crowded: Vec<bool> = (0..boxes.len())
            .map(|_| self.chance(self.trouble.crowded))
            .collect();
        let rng = &mut self.rng;
        let mut to_px = |mm: f64, size: f64| {
            (mm * SCALE + size / 2.0 + rng.random_range(-1.5..1.5)).clamp(0.0, size) as u32
        };
        let boxes = boxes
            .into_iter()
            .zip(crowded)
            .map(|([rear, front, low, high], crowded)| {
                let area = PixelBox {
                    x0: to_px(rear, 640.0),
                    x1: to_px(front, 640.0),
                    y0: to_px(low, 480.0),
                    y1: to_px(high, 480.0),
                };
                let pixels = (area.x1 - area.x0) * (area.y1 - area.y0);
                Detection {
                    area,
                    pixels,
                    crowded,
                }
            });
        boxes.filter(|d| d.pixels > 0).collect()
    }

    pub(super) fn scores(&mut self, track: u32, captured_us: i64, area: PixelBox) -> Vec<f32> {
        let fails = self.chance(self.trouble.failed_views);
        let travel_mm = self.belt.travel_mm(captured_us);
        let x_mm = |px: u32| (f64::from(px) - 320.0) / SCALE;
        let inside = x_mm(area.x0)..x_mm(area.x1);
        let in_view = |t: &&Thing| t.fell.is_none() && inside.contains(&(t.place_mm + travel_mm));
        let mut shown = self.things.iter().filter(in_view);
        let mut scores = vec![0.02; CATEGORIES];
        match (shown.next(), shown.next()) {
            (Some(thing), None) => {
                scores[thing.kind] = 0.94;
                self.shown.insert(track, thing.id);
            }
            _ => scores = vec![0.25; CATEGORIES],
        }
        if self.chance(self.trouble.wrong_views) {
            scores.rotate_left(1);
        }
        if fails {
            scores.clear();
        }
        scores
    }
}
