//! The frame path allocates nothing once it has seen a frame of the size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use models::{Filter, PreprocessError, PreprocessSpec, Preprocessor, Region, RgbView};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_warm_preprocessor_does_not_allocate() -> Result<(), PreprocessError> {
    for filter in [Filter::Triangle, Filter::CatmullRom] {
        let spec = PreprocessSpec {
            size: 96,
            fill: [255; 3],
            filter,
            mean: [0.5; 3],
            std: [0.5; 3],
        };
        let frame = vec![7; 320 * 240 * 3];
        let view = RgbView::new(&frame, 320, 240)?;
        let mut preprocessor = Preprocessor::new(spec)?;
        let mut tensor = vec![0.0; spec.len()];
        // Items of changing size: nothing larger than the frame needs more than the frame.
        let regions = [
            (300, 200),
            (17, 90),
            (200, 10),
            (96, 96),
            (5, 5),
            (320, 240),
        ];
        let regions = regions.map(|(width, height)| Region {
            x: 0,
            y: 0,
            width,
            height,
        });
        for region in regions {
            preprocessor.tensor(view, Some(region), &mut tensor)?;
        }
        let before = ALLOCATIONS.get();
        for _ in 0..3 {
            preprocessor.tensor(view, None, &mut tensor)?;
            for region in regions {
                preprocessor.tensor(view, Some(region), &mut tensor)?;
            }
        }
        assert_eq!(ALLOCATIONS.get(), before, "{filter:?}");
    }
    Ok(())
}
