// Models whose parameter names, shapes and initial values are torchvision's.
#pragma once

#include <rtrain/models/resnet.h>
