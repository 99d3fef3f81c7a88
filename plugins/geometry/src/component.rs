//! The exports.

#[allow(missing_docs, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "geometry" });
}

use bindings::exports::example::geometry::figures::{self, Figure, Point, Trouble};
use bindings::{All, Guest};

struct Component;

bindings::export!(Component with_types_in bindings);

impl Guest for Component {
    fn same(value: All) -> All {
        value
    }

    fn divide(dividend: i64, divisor: i64) -> Result<i64, String> {
        dividend.checked_div(divisor).ok_or_else(|| format!("{dividend} cannot be divided by {divisor}"))
    }

    fn nothing() {}

    fn use_up() {
        let mut all = Vec::new();
        loop {
            all.push(vec![1_u8; 1 << 20]);
        }
    }
}

impl figures::Guest for Component {
    fn area(figure: Figure) -> Result<f64, Trouble> {
        match figure {
            Figure::Dot => Ok(0.0),
            Figure::Circle(radius) if radius < 0.0 => Err(Trouble::NegativeRadius(radius)),
            Figure::Circle(radius) => Ok(std::f64::consts::PI * radius * radius),
            Figure::Polygon(corners) => {
                let count = u32::try_from(corners.len()).unwrap_or(u32::MAX);
                crate::area(&corners.into_iter().map(inner).collect::<Vec<_>>())
                    .ok_or(Trouble::TooFewCorners(count))
            }
        }
    }

    fn centre(points: Vec<Point>) -> Option<Point> {
        let centre = crate::centre(&points.into_iter().map(inner).collect::<Vec<_>>())?;
        Some(Point { x: centre.x, y: centre.y })
    }
}

fn inner(point: Point) -> crate::Point {
    crate::Point { x: point.x, y: point.y }
}
