// Includes everything about data: data sets, transforms, samplers, the loader.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/data/collate.h>
#include <rtrain/data/data_loader.h>
#include <rtrain/data/data_loaders.h>
#include <rtrain/data/data_module.h>
#include <rtrain/data/dataset.h>
#include <rtrain/data/from_torch.h>
#include <rtrain/data/map_dataset.h>
#include <rtrain/data/mnist.h>
#include <rtrain/data/sample_context.h>
#include <rtrain/data/sampler.h>
#include <rtrain/data/splits.h>
#include <rtrain/data/tensor_dataset.h>
#include <rtrain/data/transformed.h>
#include <rtrain/data/transforms.h>
#include <rtrain/data/transforms/batch_transform.h>
#include <rtrain/data/transforms/color.h>
#include <rtrain/data/transforms/erasing.h>
#include <rtrain/data/transforms/functional_color.h>
#include <rtrain/data/transforms/functional_geometry.h>
#include <rtrain/data/transforms/geometry.h>
#include <rtrain/data/transforms/mix.h>
#include <rtrain/data/transforms/random_transform.h>
