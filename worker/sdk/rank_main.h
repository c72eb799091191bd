// The main program of a rank, shared by the zygote's children and TorchTrainer's workers.
#pragma once

#include <rtrain/registry.h>

#include <functional>
#include <string>

namespace rtrain::sdk {

/// Sets up the rank (threads, agent, process group), runs the function that `find` returns, writes
/// outcome.json or error.json to the rank's folder, and ends the process: with 0 if the function returned, 1
/// if it or the set-up threw.
[[noreturn]] void run_rank(const std::function<TrainFunction()>& find);
/// The same for a function of a library, in the zygote's child.
[[noreturn]] RTRAIN_API void run_rank_of_library(const std::string& library, const std::string& name);

/// The keys of train_loop_config that the training function never read, each with the most similar one that
/// it read, as one line; "" if it read all. The array index is excluded, because rtrain sets it.
[[nodiscard]] RTRAIN_API std::string unread_keys(const Config& config);

/// Does the one-time initialization of a rank's first step, so that forked ranks inherit it. Starts no thread
/// and does not touch CUDA.
RTRAIN_API void warm_up();
/// LibTorch's version: "2.11.0".
[[nodiscard]] RTRAIN_API std::string torch_version();

}  // namespace rtrain::sdk
