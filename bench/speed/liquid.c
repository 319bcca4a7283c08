/* liquid-dsp: the dot product with a table, and the numerically controlled oscillator. */

#include "peer.h"

#include <math.h>
#include <liquid/liquid.h>

static dotprod_crcf cosine, sine;
static nco_crcf down, up;
static double complex step, turn;

static dotprod_crcf table(double (*wave)(double), double radians) {
    float out[SUB_BLOCK];
    for (int i = 0; i < SUB_BLOCK; i++) out[i] = 2.0 / SUB_BLOCK * wave(radians * i);
    return dotprod_crcf_create(out, SUB_BLOCK);
}

void prepare(double radians) {
    cosine = table(cos, radians);
    sine = table(sin, radians);
    step = cexp(-I * radians * SUB_BLOCK);
    down = nco_crcf_create(LIQUID_NCO);
    up = nco_crcf_create(LIQUID_NCO);
    nco_crcf_set_frequency(down, radians);
    nco_crcf_set_frequency(up, radians);
}

static void start(void) {
    turn = 1;
    nco_crcf_set_phase(down, 0);
    nco_crcf_set_phase(up, 0);
}

static void push_table(const float complex *sound, long frames) {
    for (long at = 0; at < frames; at += SUB_BLOCK) {
        float complex c, s;
        dotprod_crcf_execute(cosine, (float complex *)sound + at, &c);
        dotprod_crcf_execute(sine, (float complex *)sound + at, &s);
        add(turn * (crealf(c) - I * crealf(s)), turn * (cimagf(c) - I * cimagf(s)));
        turn *= step;
    }
}

static float complex mean(const float complex *mixed) {
    float complex total = 0;
    for (int i = 0; i < SUB_BLOCK; i++) total += mixed[i];
    return total / SUB_BLOCK;
}

static void push_nco(const float complex *sound, long frames) {
    float complex mixed[SUB_BLOCK];
    for (long at = 0; at < frames; at += SUB_BLOCK) {
        nco_crcf_mix_block_down(down, (float complex *)sound + at, mixed, SUB_BLOCK);
        float complex below = mean(mixed);
        nco_crcf_mix_block_up(up, (float complex *)sound + at, mixed, SUB_BLOCK);
        float complex above = conjf(mean(mixed));
        add(below + above, (below - above) / I);
    }
}

const struct chain chains[] = {
    {"liquid-dsp dotprod, table", start, push_table}, {"liquid-dsp NCO", start, push_nco}, {0}};
