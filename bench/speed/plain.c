/* By hand: a table of 480, the compiler's vectors, one rotation per sub-block. The floor of what C can do. */

#include "peer.h"

#include <math.h>

static float cosine[SUB_BLOCK], sine[SUB_BLOCK];
static double complex step, turn;

void prepare(double radians) {
    for (int i = 0; i < SUB_BLOCK; i++) {
        cosine[i] = 2.0 / SUB_BLOCK * cos(radians * i);
        sine[i] = 2.0 / SUB_BLOCK * sin(radians * i);
    }
    step = cexp(-I * radians * SUB_BLOCK);
}

static void start(void) { turn = 1; }

static void push(const float complex *sound, long frames) {
    for (long at = 0; at < frames; at += SUB_BLOCK) {
        const float *x = (const float *)(sound + at);
        float ac = 0, as = 0, bc = 0, bs = 0;
        for (int i = 0; i < SUB_BLOCK; i++) {
            ac += x[2 * i] * cosine[i];
            as += x[2 * i] * sine[i];
            bc += x[2 * i + 1] * cosine[i];
            bs += x[2 * i + 1] * sine[i];
        }
        add(turn * (ac - I * as), turn * (bc - I * bs));
        turn *= step;
    }
}

const struct chain chains[] = {{"C by hand, table", start, push}, {0}};
