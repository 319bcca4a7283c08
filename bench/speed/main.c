/* A C peer: demodulates float32 stereo from a file, block by block, and prints CPU time and amplitude as JSON lines.

   Usage: peer FILE RATE FREQUENCY REPEATS WARM_S BLOCK_MS...

   A frame is seen as one complex number A + jB, which spares taking the channels apart: with c = sum x cos and
   s = sum x sin, the phasor of A is Re c - j Re s and that of B is Im c - j Im s. Each chain (plain.c, volk.c,
   liquid.c) adds the phasors of its 10 ms sub-blocks to `sum`. */

#include "peer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double complex sum[2];
static unsigned long sub_blocks;

void add(double complex a, double complex b) {
    sum[0] += a;
    sum[1] += b;
    sub_blocks++;
}

static double cpu_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1e6 + now.tv_nsec * 1e-3;
}

static double once(const struct chain *chain, const float complex *sound, long warm, long frames, long block) {
    chain->start();
    for (long at = 0; at < warm; at += block) chain->push(sound + at, block);
    double begin = cpu_us();
    for (long at = warm; at < frames; at += block) chain->push(sound + at, block);
    return cpu_us() - begin;
}

int main(int count, char **words) {
    if (count < 7) return 2;
    double rate = atof(words[2]);
    long repeats = atol(words[4]), warm = atol(words[5]) * rate;
    FILE *file = fopen(words[1], "rb");
    if (!file) return 3;
    fseek(file, 0, SEEK_END);
    long frames = ftell(file) / sizeof(float complex);
    rewind(file);
    float complex *sound = aligned_alloc(64, (frames * sizeof *sound + 63) / 64 * 64);
    if (!sound || fread(sound, sizeof *sound, frames, file) != (size_t)frames) return 3;
    prepare(2 * M_PI * atof(words[3]) / rate);
    for (const struct chain *chain = chains; chain->name; chain++) {
        for (int word = 6; word < count; word++) {
            double best = INFINITY, amplitude = NAN;
            for (long repeat = 0; repeat < repeats; repeat++) {
                sum[0] = sum[1] = sub_blocks = 0;
                best = fmin(best, once(chain, sound, warm, frames, atol(words[word]) * rate / 1000));
                amplitude = cabs(sum[0]) / sub_blocks;
            }
            printf("{\"name\": \"%s\", \"block_ms\": %s, \"cpu_us\": %.3f, \"amplitude\": %.9f}\n",
                   chain->name, words[word], best * rate / (frames - warm), amplitude);
        }
    }
    return 0;
}
