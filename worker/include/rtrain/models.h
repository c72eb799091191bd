// Models with the parameter names, shapes and initial values of torchvision.
#pragma once

#include <rtrain/models/resnet.h>
