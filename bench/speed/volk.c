/* VOLK, the vector kernels of GNU Radio: the dot product with a table, and the rotator that makes its phase as it
   goes. */

#include "peer.h"

#include <math.h>
#include <volk/volk.h>

static float *cosine, *sine, *ones;
static lv_32fc_t *mixed;
static double complex step, turn;
static lv_32fc_t increment, down, up;

static float *table(double (*wave)(double), double radians) {
    float *out = volk_malloc(SUB_BLOCK * sizeof *out, volk_get_alignment());
    for (int i = 0; i < SUB_BLOCK; i++) out[i] = 2.0 / SUB_BLOCK * wave(radians * i);
    return out;
}

void prepare(double radians) {
    cosine = table(cos, radians);
    sine = table(sin, radians);
    ones = table(cos, 0);
    mixed = volk_malloc(SUB_BLOCK * sizeof *mixed, volk_get_alignment());
    step = cexp(-I * radians * SUB_BLOCK);
    increment = cexp(-I * radians);
}

static void start(void) { turn = down = up = 1; }

static void push_table(const float complex *sound, long frames) {
    for (long at = 0; at < frames; at += SUB_BLOCK) {
        lv_32fc_t c, s;
        volk_32fc_32f_dot_prod_32fc(&c, sound + at, cosine, SUB_BLOCK);
        volk_32fc_32f_dot_prod_32fc(&s, sound + at, sine, SUB_BLOCK);
        add(turn * (crealf(c) - I * crealf(s)), turn * (cimagf(c) - I * cimagf(s)));
        turn *= step;
    }
}

static lv_32fc_t rotated(const float complex *sound, lv_32fc_t by, lv_32fc_t *phase) {
    lv_32fc_t mean;
    volk_32fc_s32fc_x2_rotator_32fc(mixed, sound, by, phase, SUB_BLOCK);
    volk_32fc_32f_dot_prod_32fc(&mean, mixed, ones, SUB_BLOCK);
    return mean;
}

static void push_rotator(const float complex *sound, long frames) {
    for (long at = 0; at < frames; at += SUB_BLOCK) {
        lv_32fc_t below = rotated(sound + at, increment, &down);
        lv_32fc_t above = conjf(rotated(sound + at, conjf(increment), &up));
        add((below + above) / 2, (below - above) / (2 * I));
    }
}

const struct chain chains[] = {
    {"VOLK dot product, table", start, push_table}, {"VOLK rotator", start, push_rotator}, {0}};
