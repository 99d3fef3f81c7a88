//! An ordinary component: its contract is its own WIT, and hostler serves its functions as tasks.

#[cfg(target_arch = "wasm32")]
mod component;

/// A place on the plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Upwards.
    pub y: f64,
}

/// The area within these corners; `None` for fewer than three.
#[must_use]
pub fn area(corners: &[Point]) -> Option<f64> {
    let next = corners.iter().cycle().skip(1);
    let twice: f64 = corners.iter().zip(next).map(|(a, b)| a.x * b.y - b.x * a.y).sum();
    (corners.len() >= 3).then_some(twice.abs() / 2.0)
}

/// The mean of these points; `None` for none.
#[must_use]
pub fn centre(points: &[Point]) -> Option<Point> {
    let count = f64::from(u32::try_from(points.len()).ok().filter(|count| *count > 0)?);
    let sum = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / count;
    Some(Point { x: sum(|point| point.x), y: sum(|point| point.y) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_is_known() {
        let square = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)].map(|(x, y)| Point { x, y });
        assert_eq!(area(&square), Some(4.0));
        assert_eq!(centre(&square), Some(Point { x: 1.0, y: 1.0 }));
        assert_eq!((area(&square[..2]), centre(&[])), (None, None));
    }
}
