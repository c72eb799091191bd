// Models with the parameter names and shapes of torchvision and Hugging Face, whose weights load_weights()
// reads.
#pragma once

#include <rtrain/models/gpt2.h>
#include <rtrain/models/llama.h>
#include <rtrain/models/resnet.h>
#include <rtrain/models/vision_transformer.h>
