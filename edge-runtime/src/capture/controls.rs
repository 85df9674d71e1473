//! A camera's own settings: exposure, gain, focus.

use std::os::raw::c_void;
use v4l::Device;
use v4l::v4l_sys::{V4L2_CTRL_FLAG_NEXT_CTRL, v4l2_control, v4l2_queryctrl};
use v4l::v4l2::{self, vidioc};

/// From `linux/v4l2-controls.h`: the camera class, and how its exposure is controlled.
const V4L2_CID_CAMERA_CLASS_BASE: u32 = 0x009a_0900;
const V4L2_CID_EXPOSURE_AUTO: u32 = V4L2_CID_CAMERA_CLASS_BASE + 1;
const V4L2_CID_EXPOSURE_ABSOLUTE: u32 = V4L2_CID_CAMERA_CLASS_BASE + 2;
/// Manual, and shutter priority: the time does not change by itself.
const FIXED: [i32; 2] = [1, 2];
/// More than any camera has.
const MOST: usize = 1000;

/// Sets controls by the names that the driver gives them.
///
/// # Errors
/// A sentence that names the control and, if it is not there, those that are.
pub(crate) fn set(device: &Device, wanted: &[(String, i64)]) -> Result<(), String> {
    if wanted.is_empty() {
        return Ok(());
    }
    let known = list(device);
    for (name, value) in wanted {
        let Some((id, _)) = known.iter().find(|(_, n)| n == name) else {
            let names: Vec<&str> = known.iter().map(|(_, n)| n.as_str()).collect();
            let names = names.join(", ");
            return Err(format!("it has no control \"{name}\"; it has {names}"));
        };
        let value = i32::try_from(*value).map_err(|e| format!("control \"{name}\": {e}"))?;
        let mut control = v4l2_control { id: *id, value };
        // SAFETY: VIDIOC_S_CTRL reads and writes one v4l2_control, which `control` is; it outlives the call.
        let result = unsafe {
            let argument = (&raw mut control).cast::<c_void>();
            v4l2::ioctl(device.handle().fd(), vidioc::VIDIOC_S_CTRL, argument)
        };
        result.map_err(|e| format!("control \"{name}\" cannot be set to {value}: {e}"))?;
    }
    Ok(())
}

/// How long the driver says that it exposes; not while it chooses that itself.
pub(crate) fn exposure_us(device: &Device) -> Option<i64> {
    let mode = get(device, V4L2_CID_EXPOSURE_AUTO)?;
    // In units of 100 us.
    let time = get(device, V4L2_CID_EXPOSURE_ABSOLUTE)?;
    FIXED.contains(&mode).then(|| i64::from(time.max(0)) * 100)
}

fn get(device: &Device, id: u32) -> Option<i32> {
    let mut control = v4l2_control { id, value: 0 };
    // SAFETY: VIDIOC_G_CTRL reads and writes one v4l2_control, which `control` is; it outlives the call.
    let result = unsafe {
        let argument = (&raw mut control).cast::<c_void>();
        v4l2::ioctl(device.handle().fd(), vidioc::VIDIOC_G_CTRL, argument)
    };
    result.ok().map(|()| control.value)
}

/// The controls that have a single number, with their ids.
fn list(device: &Device) -> Vec<(u32, String)> {
    let mut found: Vec<(u32, String)> = Vec::new();
    while found.len() < MOST {
        let after = found.last().map_or(0, |(id, _)| *id);
        // SAFETY: `v4l2_queryctrl` is a plain struct of numbers, for which zeros are valid.
        let mut query: v4l2_queryctrl = unsafe { std::mem::zeroed() };
        query.id = after | V4L2_CTRL_FLAG_NEXT_CTRL;
        // SAFETY: VIDIOC_QUERYCTRL reads and writes one v4l2_queryctrl, which `query` is; it outlives the call.
        let result = unsafe {
            let argument = (&raw mut query).cast::<c_void>();
            v4l2::ioctl(device.handle().fd(), vidioc::VIDIOC_QUERYCTRL, argument)
        };
        if result.is_err() || query.id <= after {
            break;
        }
        let name: Vec<u8> = query.name.into_iter().take_while(|c| *c != 0).collect();
        found.push((query.id, String::from_utf8_lossy(&name).into_owned()));
    }
    found
}
