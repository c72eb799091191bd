// The training function of benchmarks/launch.py: its first line takes the time.
#include <rtrain/rtrain.h>

#include <ctime>
#include <fstream>

void train_func(const rtrain::Config& config) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::ofstream(config.at<std::string>("out") + "/rank-" +
                std::to_string(rtrain::get_context().get_world_rank()))
      << now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}
RTRAIN_TRAIN_FUNCTION(train_func);
