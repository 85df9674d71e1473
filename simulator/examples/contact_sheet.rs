//! Draws some of each item, and a few frames of the belt, into PNG files:
//! `cargo run --release -p simulator --example contact_sheet -- FOLDER`

use image::{GenericImage, RgbImage};
use simulator::{Spacing, View, World, WorldConfig, drawn};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name a folder")?);
    std::fs::create_dir_all(&folder)?;
    let (cell_px, columns) = (112, 10);
    let labels = drawn::labels();
    let mut sheet = RgbImage::new(cell_px * columns, cell_px * labels.len() as u32);
    for item in 0..labels.len() {
        for column in 0..columns {
            let image = drawn::draw(item, u64::from(column) + 1, cell_px);
            sheet.copy_from(&image, column * cell_px, item as u32 * cell_px)?;
        }
    }
    sheet.save(folder.join("items.png"))?;

    let mut world = World::new(WorldConfig {
        seed: 1,
        speed_mm_s: 400.0,
        swing: 0.0,
        view: View {
            width_px: 640,
            height_px: 480,
            length_mm: 400.0,
        },
        rate_per_min: 90.0,
        spacing: Spacing::Apart { min_gap_mm: 30.0 },
        max_turn_deg: 180.0,
        gates: Vec::new(),
        lead_in_us: 0,
    })?;
    let mut frame = RgbImage::new(1, 1);
    for second in 1..=6 {
        let t_us = second * 1_000_000;
        while world.wants_item(t_us) {
            let index = world.items().len();
            world.place(&drawn::picture(index * 3, index as u64));
        }
        world.render(t_us, &mut frame);
        frame.save(folder.join(format!("belt-{second}.png")))?;
    }
    Ok(())
}
