// What a rank of a job does from its first line to its last: shared by the zygote's children and
// TorchTrainer's workers.
#pragma once

#include <rtrain/registry.h>

#include <functional>
#include <string>

namespace rtrain::sdk {

/// Sets the rank up (threads, agent, process group), runs the function that `find` gives, leaves outcome.json
/// or error.json in the rank's folder and ends the process: 0 when the function returned, 1 when it or the
/// set-up threw.
[[noreturn]] void run_rank(const std::function<TrainFunction()>& find);
/// The same with a function of a library. For the zygote's child.
[[noreturn]] RTRAIN_API void run_rank_of_library(const std::string& library, const std::string& name);

/// The keys of train_loop_config that the training function never read, with the nearest that it asked for,
/// as one line; "" when it read all. The index of an array job is rtrain's own, not the user's.
[[nodiscard]] RTRAIN_API std::string unread_keys(const Config& config);

/// Does once what every rank would do at its first step, so that forked ranks find it done. Starts no thread,
/// leaves CUDA alone.
RTRAIN_API void warm_up();
/// "2.11.0"
[[nodiscard]] RTRAIN_API std::string torch_version();

}  // namespace rtrain::sdk
