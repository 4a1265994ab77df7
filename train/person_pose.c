/* Where the joints of a generated person are. From the ground up: where the feet stand, how high the pelvis can be over
 * them, and the legs between; then the trunk, the head and the arms on top of the pelvis. */
#include "models/motion_features.h"
#include "train/person.h"

static const double TAU = 6.28318530717958647692, GRAVITY = 9.81;

enum {
    PELVIS,
    L_HIP,
    L_KNEE = 4,
    L_ANKLE = 7,
    L_FOOT = 10,
    SPINE1 = 3,
    SPINE2 = 6,
    SPINE3 = 9,
    NECK = 12,
    L_COLLAR = 13,
    HEAD = 15,
    L_SHOULDER = 16,
    L_ELBOW = 18,
    L_WRIST = 20
};

/* ---- small things ---- */

static double swung(ts_swing s, double t)
{
    return s.middle + s.size * sin(TAU * (s.rate * t + s.phase));
}

/* 0 below 0, 1 above 1, with both slopes 0. */
static double smooth(double x)
{
    x = x < 0 ? 0 : x > 1 ? 1 : x;
    return x * x * (3 - 2 * x);
}

static double mix(double a, double b, double part)
{
    return a + part * (b - a);
}

static double bone(int joint)
{
    return ts_skeleton_22.length[joint];
}

static ts_v3 rest(int joint)
{
    return ts_v3_unit(ts_v3_at(ts_skeleton_22.direction[joint]));
}

static ts_v3 forward(double heading)
{
    return (ts_v3){sin(heading), 0, cos(heading)};
}

static ts_v3 along(ts_v3 from, double length, ts_v3 direction)
{
    return ts_v3_add(from, ts_v3_scale(length, direction));
}

/* ---- the path ---- */

/* Where on the floor, and heading where. */
typedef struct {
    ts_v3 at;
    double heading;
} spot;

/* An arc, begun at the origin. */
static spot on_arc(const ts_person *p, double t)
{
    double h = p->heading + p->turn * t, a = p->heading + p->drift, b = h + p->drift;
    if (fabs(p->turn) < 1e-3)
        return (spot){ts_v3_scale(p->speed * t, forward(a)), h};
    double radius = p->speed / p->turn;
    return (spot){{radius * (cos(a) - cos(b)), 0, radius * (sin(b) - sin(a))}, h};
}

/* A jump: crouch, push off, fly, land on a bent leg, rise, rest. */
typedef struct {
    double down, up; /* of the pelvis, metres: only one of them is not 0 */
    double leaps;    /* so far, with the part of the present one: it goes on while the toes are off the floor */
} jump;

static const double JUMP_TILT = 0.5; /* of a foot that leaves the floor heel first, radians */

static double foot_angle(void)
{
    return asin(-rest(L_FOOT).y);
}

/* How high the tilted foot lifts the ankle over where it is when flat. */
static double lift_of(double tilt)
{
    return bone(L_FOOT) * (sin(tilt + foot_angle()) - sin(foot_angle()));
}

/* Part of the time in the air that is over, `s` seconds after the legs are straight. */
static double flown(double start, double s)
{
    double root = sqrt(fmax(0, start * start - 2 * GRAVITY * lift_of(JUMP_TILT))) / GRAVITY, top = start / GRAVITY;
    double part = (s - top + root) / (2 * root);
    return part < 0 ? 0 : part > 1 ? 1 : part;
}

static jump jump_at(const ts_person *p, double t)
{
    static const double crouch = 0.35;
    double start = sqrt(2 * GRAVITY * p->height), push = 2 * p->depth / start, fly = 2 * start / GRAVITY;
    double period = 2 * crouch + 2 * push + fly + p->rest;
    double whole = floor(t / period + p->phase), s = (t / period + p->phase - whole) * period;
    if (s < crouch)
        return (jump){p->depth * smooth(s / crouch), 0, whole};
    s -= crouch;
    if (s < push)
        return (jump){p->depth * (1 - (s / push) * (s / push)), 0, whole};
    s -= push;
    if (s < fly)
        return (jump){0, start * s - 0.5 * GRAVITY * s * s, whole + flown(start, s)};
    s -= fly;
    if (s < push)
        return (jump){p->depth * (1 - (1 - s / push) * (1 - s / push)), 0, whole + 1};
    return (jump){p->depth * (1 - smooth((s - push) / crouch)), 0, whole + 1};
}

/* Jumps lead from one heading to the next; between them nothing turns. */
static spot after_leaps(const ts_person *p, double leaps)
{
    spot s = {{0, 0, 0}, p->heading};
    int whole = (int)leaps;
    for (int i = 0; i < whole; i++) {
        s.at = along(s.at, p->leap, forward(s.heading));
        s.heading += p->turn;
    }
    s.at = along(s.at, p->leap * (leaps - whole), forward(s.heading));
    s.heading += p->turn * smooth(leaps - whole);
    return s;
}

/* ---- feet ---- */

/* The toe's place; how the foot heads; and how it is tilted, radians, heel up. */
typedef struct {
    ts_v3 toe;
    double heading, tilt;
} foot;

static bool steps(const ts_person *p)
{
    return p->does == TS_PERSON_WALKS || p->does == TS_PERSON_TURNS;
}

/* A foot flat on the floor beside the spot; side: 1 left, -1 right. */
static foot flat_foot(const ts_person *p, spot s, int side)
{
    double h = s.heading + side * p->toes_out;
    ts_v3 left = {cos(s.heading), 0, -sin(s.heading)};
    ts_v3 toe = along(along(s.at, side * p->width / 2, left), p->ahead, forward(s.heading));
    return (foot){toe, h, 0};
}

/* The print of a foot's cycle number k: where the path is in the middle of the stance. */
static foot footprint(const ts_person *p, int side, double k)
{
    double middle = (k + p->stance / 2 - p->phase - (side < 0 ? 0.5 : 0)) / p->rate;
    return flat_foot(p, on_arc(p, middle), side);
}

static foot step_at(const ts_person *p, int side, double t)
{
    double cycle = p->rate * t + p->phase + (side < 0 ? 0.5 : 0), k = floor(cycle), s = (cycle - k) / p->stance;
    foot f = footprint(p, side, k);
    if (s < 1) {
        f.tilt = s < 0.5 ? -p->strike * (1 - smooth(s / 0.16)) : p->push * smooth((s - 0.5) / 1.0) * 2;
        return f;
    }
    s = (cycle - k - p->stance) / (1 - p->stance);
    foot next = footprint(p, side, k + 1);
    double part = smooth(s), up = sin(TAU / 2 * s);
    f.toe = ts_v3_add(f.toe, ts_v3_scale(part, ts_v3_sub(next.toe, f.toe)));
    f.toe.y = p->lift * up * up;
    f.heading = mix(f.heading, next.heading, part);
    f.tilt = p->push * (1 - smooth(s / 0.8)) - p->strike * smooth((s - 0.4) / 0.6);
    return f;
}

/* Both feet leave the floor heel first: the ankle is as far up as the pelvis, the toe as far as is left of that. */
static foot jumping_foot(const ts_person *p, jump j, int side)
{
    foot f = flat_foot(p, after_leaps(p, j.leaps), side);
    double sine = sin(foot_angle()) + j.up / bone(L_FOOT);
    f.tilt = fmin(asin(fmin(1, sine)) - foot_angle(), JUMP_TILT);
    f.toe.y = fmax(0, j.up - lift_of(f.tilt));
    return f;
}

/* A toe that points up is so because the foot stands on its heel. */
static ts_v3 toe_of(const foot *f)
{
    static const double sole = 0.19; /* metres from heel to toe */
    if (f->tilt >= 0)
        return f->toe;
    ts_v3 heel = along(f->toe, -sole, forward(f->heading));
    ts_v3 toe = along(heel, sole * cos(f->tilt), forward(f->heading));
    toe.y -= sole * sin(f->tilt);
    return toe;
}

static ts_v3 ankle_of(const foot *f, ts_v3 toe)
{
    double length = bone(L_FOOT), angle = foot_angle() + f->tilt;
    ts_v3 ankle = along(toe, -length * cos(angle), forward(f->heading));
    ankle.y += length * sin(angle);
    return ankle;
}

/* ---- pelvis and legs ---- */

/* The height at which neither leg is longer than it can be, rounded where the legs change places. */
static double pelvis_height(ts_v3 at, ts_m3 frame, const ts_v3 ankle[2])
{
    static const double sharp = 80; /* 1 / metres */
    double reach = 0.995 * (bone(L_KNEE) + bone(L_ANKLE)), sum = 0;
    for (int i = 0; i < 2; i++) {
        ts_v3 hip = ts_m3_apply(frame, ts_v3_scale(bone(L_HIP), rest(L_HIP + i)));
        double x = ankle[i].x - at.x - hip.x, z = ankle[i].z - at.z - hip.z;
        sum += exp(-sharp * (ankle[i].y + sqrt(fmax(0.1, reach * reach - x * x - z * z)) - hip.y));
    }
    return -log(sum) / sharp;
}

/* The knee of two bones from hip to ankle, on the side of `front`; the ankle moves where it is out of reach. */
static ts_v3 knee_between(ts_v3 hip, ts_v3 *ankle, ts_v3 front)
{
    double thigh = bone(L_KNEE), shin = bone(L_ANKLE);
    ts_v3 line = ts_v3_sub(*ankle, hip), u = ts_v3_unit(line);
    double d = fmin(fmax(ts_v3_length(line), 0.15), 0.9995 * (thigh + shin));
    double beside = (thigh * thigh + d * d - shin * shin) / (2 * d);
    ts_v3 out = ts_v3_unit(ts_v3_sub(front, ts_v3_scale(ts_v3_dot(front, u), u)));
    *ankle = along(hip, d, u);
    return along(along(hip, beside, u), sqrt(fmax(0, thigh * thigh - beside * beside)), out);
}

static void put_legs(ts_v3 *place, ts_m3 pelvis, double heading, const foot f[2], const ts_v3 ankle[2])
{
    for (int i = 0; i < 2; i++) {
        ts_v3 end = ankle[i];
        double knee_heading = heading + 0.6 * (f[i].heading - heading);
        place[L_HIP + i] = along(place[PELVIS], bone(L_HIP), ts_m3_apply(pelvis, rest(L_HIP + i)));
        place[L_KNEE + i] = knee_between(place[L_HIP + i], &end, forward(knee_heading));
        place[L_ANKLE + i] = end;
        place[L_FOOT + i] = ts_v3_add(end, ts_v3_sub(toe_of(&f[i]), ankle[i]));
    }
}

/* ---- above ---- */

/* What the legs do to the rest. */
typedef struct {
    double down, up; /* metres: squats and crouches, flight */
    double stride;   /* -1 to 1: the left foot in front is 1; 0 for who does not step */
} effort;

static ts_m3 turned(ts_m3 frame, double around, double lean, double side)
{
    return ts_m3_multiply(
        frame, ts_m3_multiply(ts_m3_turn(1, around), ts_m3_multiply(ts_m3_turn(0, lean), ts_m3_turn(2, -side))));
}

/* In the trunk's frame: hanging, then `up` to the front and `out` to the side. */
static ts_v3 arm_direction(double up, double out, int side)
{
    return (ts_v3){side * sin(out), -cos(out) * cos(up), cos(out) * sin(up)};
}

static void put_arm(ts_v3 *place, const ts_person *p, int i, ts_m3 trunk, effort e, double t)
{
    const ts_person_arm *a = &p->arm[i];
    int side = i ? -1 : 1;
    double up = swung(a->up, t), out = swung(a->out, t);
    if (p->does == TS_PERSON_JUMPS)
        up += 7 * e.up - 3 * e.down;
    ts_m3 raised = ts_m3_multiply(trunk, ts_m3_turn(2, side * (swung(p->breath, t) + 0.25 * fmax(0, out - 1))));
    place[L_COLLAR + i] = along(place[SPINE3], bone(L_COLLAR), ts_m3_apply(raised, rest(L_COLLAR + i)));
    place[L_SHOULDER + i] = along(place[L_COLLAR + i], bone(L_SHOULDER), ts_m3_apply(raised, rest(L_SHOULDER + i)));
    place[L_ELBOW + i] = along(place[L_SHOULDER + i], bone(L_ELBOW), ts_m3_apply(trunk, arm_direction(up, out, side)));
    up += swung(a->bend, t);
    out += swung(a->aside, t);
    place[L_WRIST + i] = along(place[L_ELBOW + i], bone(L_WRIST), ts_m3_apply(trunk, arm_direction(up, out, side)));
}

static void put_trunk(ts_v3 *place, const ts_person *p, ts_m3 frame, double lean, effort e, double t)
{
    static const int spine[3] = {SPINE1, SPINE2, SPINE3};
    double twist = swung(p->twist, t) + 2 * p->hips_turn * e.stride, bend = swung(p->bend, t);
    ts_v3 at = place[PELVIS];
    for (int i = 0; i < 3; i++) {
        frame = turned(frame, twist / 3, lean / 4, bend / 3);
        at = place[spine[i]] = along(at, bone(spine[i]), frame.y);
    }
    ts_m3 neck = turned(frame, 0, -0.4 * lean, -0.4 * bend);
    place[NECK] = along(at, bone(NECK), neck.y);
    ts_m3 head = turned(neck, swung(p->look, t) - 0.5 * twist, swung(p->nod, t) - 0.3 * lean, -0.3 * bend);
    place[HEAD] = along(place[NECK], bone(HEAD), ts_m3_apply(head, rest(HEAD)));
    for (int i = 0; i < 2; i++)
        put_arm(place, p, i, frame, e, t);
}

/* ---- all of it ---- */

static effort effort_at(const ts_person *p, double t, jump j)
{
    if (p->does == TS_PERSON_JUMPS)
        return (effort){j.down, j.up, 0};
    if (p->does == TS_PERSON_SQUATS)
        return (effort){p->depth * (0.5 - 0.5 * cos(TAU * (p->rate * t + p->phase))), 0, 0};
    return (effort){0, 0, steps(p) ? cos(TAU * (p->rate * t + p->phase)) : 0};
}

void ts_person_pose(const ts_person *p, double t, ts_v3 place[TS_PERSON_JOINTS])
{
    jump j = p->does == TS_PERSON_JUMPS ? jump_at(p, t) : (jump){0, 0, 0};
    effort e = effort_at(p, t, j);
    spot s = p->does == TS_PERSON_JUMPS ? after_leaps(p, j.leaps) : on_arc(p, t);
    double lean = swung(p->lean, t) + 1.9 * e.down;
    ts_m3 pelvis = turned(ts_m3_identity(), s.heading - p->hips_turn * e.stride, lean / 4, 0);
    ts_v3 left = {cos(s.heading), 0, -sin(s.heading)};
    foot f[2];
    ts_v3 ankle[2];
    for (int i = 0; i < 2; i++) {
        int side = i ? -1 : 1;
        f[i] = steps(p) ? step_at(p, side, t) : jumping_foot(p, j, side);
        if (!steps(p) && p->does != TS_PERSON_JUMPS)
            f[i] = flat_foot(p, s, side);
        ankle[i] = ankle_of(&f[i], toe_of(&f[i]));
    }
    place[PELVIS] = along(along(s.at, swung(p->side, t), left), -0.45 * e.down, forward(s.heading));
    place[PELVIS].y = pelvis_height(place[PELVIS], pelvis, ankle) - e.down;
    put_legs(place, pelvis, s.heading, f, ankle);
    put_trunk(place, p, pelvis, lean, e, t);
}
