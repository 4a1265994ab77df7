#include "core/ref/ref.h"
typedef real unused_real;
