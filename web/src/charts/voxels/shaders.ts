/** Programs of the graphics card. Positions are voxels from the middle of the block; `turn` as in pose.ts. */

const PLACE = `#version 300 es
precision highp float;
uniform mat3 turn;      // rows: right, down, away
uniform vec3 half_;     // half of width, height, depth
uniform vec2 scale;     // voxels to the half of the picture
uniform float deep;
vec4 placed(vec3 p) {
  vec3 q = turn * (p - half_);
  return vec4(q.x * scale.x, -q.y * scale.y, q.z / deep, 1.0);
}
`

/** Sides of cubes. */
export const CUBES = {
  vertex: `${PLACE}
layout(location = 0) in uvec4 at;
layout(location = 1) in vec4 colour;
uniform float bright;
out vec2 on;
out vec3 tint;
void main() {
  gl_Position = placed(vec3(at.xyz));
  on = vec2(float(at.w & 1u), float(at.w >> 1));
  tint = colour.rgb * bright;
}`,
  fragment: `#version 300 es
precision mediump float;
in vec2 on;
in vec3 tint;
uniform float edge;
out vec4 shown;
void main() {
  vec2 near = min(on, 1.0 - on);
  shown = vec4(min(near.x, near.y) < edge ? tint * 0.82 : tint, 1.0);
}`,
}

/** Lines: the box, and where slices are cut. */
export const LINES = {
  vertex: `${PLACE}
layout(location = 0) in vec3 at;
void main() { gl_Position = placed(at); }`,
  fragment: `#version 300 es
precision mediump float;
uniform vec4 colour;
out vec4 shown;
void main() { shown = colour; }`,
}

/**
 * A ray for each pixel, from voxel to voxel (Amanatides and Woo 1987): what each lets through is added up from the front.
 * With density 0 the first voxel hides what is behind it.
 */
export const GLASS = {
  vertex: `#version 300 es
precision highp float;
out vec2 at;
void main() {
  at = vec2(float(gl_VertexID & 1) * 4.0 - 1.0, float(gl_VertexID >> 1) * 4.0 - 1.0);
  gl_Position = vec4(at, 0.0, 1.0);
}`,
  fragment: `#version 300 es
precision highp float;
precision highp sampler3D;
uniform sampler3D block;
uniform mat3 turn;
uniform vec3 half_;
uniform vec2 scale;
uniform float density;
uniform vec3 bright;    // of the sides across x, y, z that can be seen
in vec2 at;
out vec4 shown;
void main() {
  vec3 size = 2.0 * half_;
  vec3 to = vec3(turn[0][2], turn[1][2], turn[2][2]);
  vec2 q = vec2(at.x / scale.x, -at.y / scale.y);
  vec3 from = q.x * vec3(turn[0][0], turn[1][0], turn[2][0]) + q.y * vec3(turn[0][1], turn[1][1], turn[2][1])
    - length(size) * to + half_;
  vec3 way = mix(to, vec3(1e-7), lessThan(abs(to), vec3(1e-7)));
  vec3 step_ = sign(way);
  vec3 a = (mix(size, vec3(0.0), greaterThan(way, vec3(0.0))) - from) / way;
  vec3 b = (mix(vec3(0.0), size, greaterThan(way, vec3(0.0))) - from) / way;
  float enter = max(a.x, max(a.y, a.z));
  float leave = min(b.x, min(b.y, b.z));
  shown = vec4(0.0);
  if (enter >= leave) return;
  vec3 side = vec3(equal(vec3(enter), a));
  vec3 cell = clamp(floor(from + way * (enter + 1e-4)), vec3(0.0), size - 1.0);
  vec3 wide = 1.0 / abs(way);
  vec3 next = (cell + max(step_, 0.0) - from) / way;
  float t = enter;
  float light = dot(bright, side) / max(1.0, side.x + side.y + side.z);
  for (int i = 0; i < 400; i += 1) {
    float until = min(next.x, min(next.y, next.z));
    vec4 v = texelFetch(block, ivec3(cell), 0);
    if (v.a > 0.0) {
      if (density <= 0.0) { shown = vec4(v.rgb * light, 1.0); return; }
      float share = 1.0 - pow(max(1e-5, 1.0 - v.a * 0.98), (until - t) * density);
      shown += (1.0 - shown.a) * share * vec4(v.rgb, 1.0);
      if (shown.a > 0.98) break;
    }
    t = until;
    if (next.x <= until) { cell.x += step_.x; next.x += wide.x; light = bright.x; }
    else if (next.y <= until) { cell.y += step_.y; next.y += wide.y; light = bright.y; }
    else { cell.z += step_.z; next.z += wide.z; light = bright.z; }
    if (any(lessThan(cell, vec3(0.0))) || any(greaterThanEqual(cell, size))) break;
  }
}`,
}
