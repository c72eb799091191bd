// The training function of benchmarks/recovery.py: a step is a sum over all ranks and a line with the time,
// and now and then a checkpoint.
#include <rtrain/rtrain.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include <unistd.h>

namespace {

long long now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace

/// Each rank writes "<attempt> <pid> <time of its first step>" to <out>/rank-<r>, whole.
void train_func(const rtrain::Config& config) {
  const auto& context = rtrain::get_context();
  const std::filesystem::path out = config.at<std::string>("out");
  auto tensor = torch::ones({1000});
  for (int step = 0;; ++step) {
    rtrain::process_group().all_reduce(tensor);
    tensor.div_(context.get_world_size());
    rtrain::report({{"step", step}});
    if (step == 0) {
      const auto name = "rank-" + std::to_string(context.get_world_rank());
      std::ofstream(out / ("." + name)) << context.get_attempt() << ' ' << ::getpid() << ' ' << now_ns();
      std::filesystem::rename(out / ("." + name), out / name);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}
RTRAIN_TRAIN_FUNCTION(train_func);
