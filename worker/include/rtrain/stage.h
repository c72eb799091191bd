// What a run of a Trainer is doing.
#pragma once

namespace rtrain {

/// setup() and teardown() receive kFit, kValidate, kTest or kPredict.
enum class Stage { kFit, kSanityCheck, kTrain, kValidate, kTest, kPredict };

}  // namespace rtrain
