/* What a generated person does: every number of it, from (seed, index). Ranges are those of people: speeds and steps of
 * a walk hang together, joints stay within their limits. */
#include <string.h>

#include "core/text.h"
#include "train/person.h"

static double between(ts_draws *draws, double low, double high)
{
    return low + (high - low) * (double)ts_draw_uniform(draws);
}

static bool chance(ts_draws *draws, double probability)
{
    return (double)ts_draw_uniform(draws) < probability;
}

static double either_side(ts_draws *draws, double low, double high)
{
    double size = between(draws, low, high);
    return chance(draws, 0.5) ? size : -size;
}

/* Of this size, at its own rate and from anywhere. */
static ts_swing idle(ts_draws *draws, double middle, double size)
{
    double rate = between(draws, 0.08, 0.3), phase = between(draws, 0, 1);
    return (ts_swing){middle, size * between(draws, 0.3, 1), rate, phase};
}

/* ---- legs ---- */

static void draw_stance(ts_person *p, ts_draws *draws)
{
    p->width = between(draws, 0.16, 0.34);
    p->toes_out = between(draws, 0.05, 0.3);
    p->side = idle(draws, 0, 0.04);
}

/* Steps get longer and quicker with the speed, and both by half: 0.4 m at 0.5 m/s, 0.68 m at 1.7. */
static void draw_walk(ts_person *p, ts_draws *draws)
{
    p->speed = between(draws, 0.5, 1.7);
    bool backwards = chance(draws, 0.1), curved = chance(draws, 0.5);
    if (backwards)
        p->speed *= 0.5;
    double step = (0.29 + 0.23 * p->speed) * between(draws, 0.9, 1.1);
    p->rate = p->speed / (2 * step);
    p->turn = curved ? either_side(draws, 0.1, 0.6) : 0;
    p->drift = (backwards ? 3.14159265358979323846 : 0) + either_side(draws, 0, 0.1);
    p->stance = between(draws, 0.6, 0.66);
    p->width = between(draws, 0.1, 0.18);
    p->toes_out = between(draws, 0, 0.2);
    p->ahead += backwards ? -0.02 : 0.035 * p->speed;
    p->lift = between(draws, 0.03, 0.08);
    p->strike = backwards ? 0 : between(draws, 0.1, 0.35);
    p->push = backwards ? 0.2 : between(draws, 0.35, 0.7) * (0.6 + 0.25 * p->speed);
    p->side = (ts_swing){0, between(draws, 0.01, 0.035), p->rate, p->phase - p->stance / 2 + 0.25};
    p->lean.middle += 0.04 * p->speed;
    p->hips_turn = between(draws, 0.03, 0.12);
}

static void draw_turn(ts_person *p, ts_draws *draws)
{
    p->speed = between(draws, 0, 0.15);
    p->rate = between(draws, 0.7, 1.1);
    p->turn = either_side(draws, 0.6, 1.4);
    p->stance = between(draws, 0.62, 0.7);
    p->width = between(draws, 0.14, 0.22);
    p->toes_out = between(draws, 0, 0.2);
    p->lift = between(draws, 0.03, 0.09);
    p->push = between(draws, 0.1, 0.3);
    p->side = (ts_swing){0, between(draws, 0.02, 0.04), p->rate, p->phase - p->stance / 2 + 0.25};
}

static void draw_squats(ts_person *p, ts_draws *draws)
{
    draw_stance(p, draws);
    p->width = between(draws, 0.24, 0.4);
    p->depth = between(draws, 0.15, 0.4);
    p->rate = between(draws, 0.25, 0.6);
    p->side.size *= 0.3;
}

static void draw_jumps(ts_person *p, ts_draws *draws)
{
    draw_stance(p, draws);
    p->depth = between(draws, 0.12, 0.25);
    p->height = between(draws, 0.1, 0.3);
    p->rest = between(draws, 0.1, 0.8);
    p->leap = chance(draws, 0.5) ? between(draws, 0.1, 0.5) : 0;
    p->turn = chance(draws, 0.4) ? either_side(draws, 0.3, 1.5) : 0;
    p->side.size *= 0.3;
}

/* ---- arms ---- */

/* Hanging, and swinging with the other side's foot where there are steps. */
static void draw_hanging(ts_person *p, ts_draws *draws, int i)
{
    ts_person_arm *a = &p->arm[i];
    bool walks = p->does == TS_PERSON_WALKS;
    double elbow = between(draws, 0.2, 0.6);
    a->up = idle(draws, 0.05, 0.08);
    a->out = idle(draws, between(draws, 0.1, 0.25), 0.04);
    a->bend = idle(draws, elbow, 0.1);
    if (!walks && p->does != TS_PERSON_TURNS)
        return;
    double phase = p->phase + (i ? 0 : 0.5) + 0.25, size = walks ? 0.15 + 0.25 * p->speed : 0.15;
    a->up = (ts_swing){0.02, size * between(draws, 0.7, 1.2), p->rate, phase};
    a->bend = (ts_swing){elbow, 0.5 * a->up.size, p->rate, phase - 0.06};
}

/* The upper arm out to the side, the forearm up and to and fro. */
static void draw_waving(ts_person *p, ts_draws *draws, int i)
{
    ts_person_arm *a = &p->arm[i];
    a->does = TS_ARM_WAVES;
    a->up = idle(draws, 0.2, 0.1);
    a->out = idle(draws, between(draws, 1.1, 1.9), 0.12);
    a->aside =
        (ts_swing){between(draws, 1.3, 1.7), between(draws, 0.25, 0.6), between(draws, 0.8, 2.2), between(draws, 0, 1)};
    a->bend = idle(draws, 0.1, 0.1);
}

/* Both arms together, from the sides to above the head and back. */
static void draw_lifting(ts_person *p, ts_draws *draws)
{
    double most = between(draws, 1.2, 2.6), rate = between(draws, 0.2, 0.6), phase = between(draws, 0, 1);
    double bend = between(draws, 0, 0.4);
    for (int i = 0; i < 2; i++) {
        ts_person_arm *a = &p->arm[i];
        a->does = TS_ARM_LIFTS;
        a->out = (ts_swing){0.15 + most / 2, most / 2, rate, phase};
        a->up = (ts_swing){0.1, 0, 0, 0};
        a->aside = (ts_swing){bend, 0.3 * bend, rate, phase};
        a->bend = (ts_swing){0.15, 0, 0, 0};
    }
}

/* To the front and back; both arms together (squats), or one after the other, as boxers do. */
static void draw_reaching(ts_person *p, ts_draws *draws)
{
    bool squats = p->does == TS_PERSON_SQUATS, together = squats || chance(draws, 0.5);
    double size = between(draws, 0.4, 0.75), phase = squats ? p->phase - 0.25 : between(draws, 0, 1);
    double rate = squats ? p->rate : between(draws, 0.4, 1.2), bend = between(draws, 0.2, 1.2);
    for (int i = 0; i < 2; i++) {
        ts_person_arm *a = &p->arm[i];
        double own = phase + (together || i == 0 ? 0 : 0.5);
        a->does = TS_ARM_REACHES;
        a->up = (ts_swing){0.1 + size, size, rate, own};
        a->out = idle(draws, 0.15, 0.04);
        a->bend = (ts_swing){0.15 + bend / 2, bend / 2, rate, own + 0.5};
    }
}

static void draw_arms(ts_person *p, ts_draws *draws)
{
    static const double waves[] = {0.45, 0.2, 0.15, 0, 0}, lifts[] = {0.2, 0.04, 0.04, 0.15, 0},
                        reaches[] = {0.15, 0, 0, 0.65, 0};
    double u = between(draws, 0, 1);
    int side = (int)ts_draw_below(draws, 2);
    for (int i = 0; i < 2; i++)
        draw_hanging(p, draws, i);
    if (u < waves[p->does])
        draw_waving(p, draws, side);
    else if (u < waves[p->does] + lifts[p->does])
        draw_lifting(p, draws);
    else if (u < waves[p->does] + lifts[p->does] + reaches[p->does])
        draw_reaching(p, draws);
}

/* ---- all of it ---- */

static ts_person_does choose(ts_draws *draws)
{
    static const double share[] = {0.22, 0.42, 0.1, 0.13, 0.13};
    double u = between(draws, 0, 1);
    int i = 0;
    for (; i < 4 && u >= share[i]; i++)
        u -= share[i];
    return (ts_person_does)i;
}

ts_person ts_person_draw(uint64_t seed, uint64_t index)
{
    ts_draws draws = {.key = {seed, ts_random_stream("data.chains")}, .epoch = index};
    ts_person p = {.does = choose(&draws)};
    p.ahead = between(&draws, 0.07, 0.1);
    p.heading = between(&draws, -3.14159265358979323846, 3.14159265358979323846);
    p.phase = between(&draws, 0, 1);
    p.lean = idle(&draws, between(&draws, -0.02, 0.1), 0.04);
    p.bend = idle(&draws, 0, 0.05);
    p.twist = idle(&draws, 0, 0.15);
    p.look = idle(&draws, 0, 0.5);
    p.nod = idle(&draws, between(&draws, -0.05, 0.15), 0.1);
    p.breath = (ts_swing){0.01, 0.015, between(&draws, 0.2, 0.4), between(&draws, 0, 1)};
    static void (*const legs[])(ts_person *, ts_draws *) = {draw_stance, draw_walk, draw_turn, draw_squats, draw_jumps};
    legs[p.does](&p, &draws);
    draw_arms(&p, &draws);
    return p;
}

const char *ts_person_describe(const ts_person *p, char *text, size_t bytes)
{
    static const char *const legs[] = {"stands", "walks", "turns", "squats", "jumps"};
    static const char *const arms[] = {"", "waves", "lifts both arms", "reaches out"};
    ts_arm_does left = p->arm[0].does, right = p->arm[1].does, any = left ? left : right;
    size_t n = ts_text_append(text, bytes, 0, "%s", legs[p->does]);
    if (p->does == TS_PERSON_WALKS && fabs(p->drift) > 2)
        n = ts_text_append(text, bytes, n, " backwards");
    if (p->does != TS_PERSON_STANDS && fabs(p->turn) > 0)
        n = ts_text_append(text, bytes, n, p->turn > 0 ? " to the left" : " to the right");
    if (any)
        ts_text_append(text, bytes, n, " and %s%s", arms[any],
                       any != TS_ARM_WAVES ? ""
                       : left              ? " with the left hand"
                                           : " with the right hand");
    return text;
}
