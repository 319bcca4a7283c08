/* What a C peer gives and gets; see main.c. */

#include <complex.h>

enum { SUB_BLOCK = 480 };

struct chain {
    const char *name;
    void (*start)(void);                                /* phase and state back to frame 0 */
    void (*push)(const float complex *, long frames);   /* frames: a whole number of sub-blocks */
};

extern const struct chain chains[];                     /* ends with a chain without a name */
void prepare(double radians_per_frame);
void add(double complex a, double complex b);           /* the phasors of one sub-block */
