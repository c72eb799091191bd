// What holds for the values of a pickle when they are handed out.
#pragma once

#include "proto/tensors/pickle.h"

namespace rtrain::tensors {

/// @throws PickleRefusal unless what struct Pickle promises holds. Does not recurse.
void check_pickle(const Pickle& pickle);

}  // namespace rtrain::tensors
