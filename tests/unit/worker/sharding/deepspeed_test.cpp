#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/strategies/deepspeed.h>

#include <fstream>

namespace deepspeed_test {

using Catch::Matchers::Contains;
using nlohmann::json;
using rtrain::DeepSpeedOptions;
using rtrain::DeepSpeedStrategy;

TEST_CASE("deepspeed: a configuration sets what acts here", "[sharding]") {
  rtrain::test::Heard heard;
  const DeepSpeedStrategy strategy({.config = json::parse(R"({
    "zero_optimization": {
      "stage": 3,
      "offload_optimizer": {"device": "cpu", "pin_memory": true},
      "offload_param": {"device": "cpu"},
      "stage3_max_live_parameters": 1000,
      "stage3_prefetch_bucket_size": 0,
      "overlap_comm": false,
      "reduce_bucket_size": 500000000
    },
    "communication_data_type": "bf16",
    "steps_per_print": 10
  })")});
  const auto& options = strategy.options();
  CHECK(options.stage == 3);
  CHECK(options.offload_optimizer);
  CHECK(options.offload_parameters);
  CHECK(options.stage3_max_live_parameters == 1000);
  CHECK(options.stage3_prefetch_bucket_size == 0);
  CHECK_FALSE(options.overlap_comm);
  REQUIRE(options.mixed_precision);
  CHECK(options.mixed_precision->reduce_dtype == torch::kBFloat16);
  CHECK_THAT(heard.text(), Contains("steps_per_print") && Contains("zero_optimization.reduce_bucket_size") &&
                               Contains("offload_optimizer.pin_memory"));
}

TEST_CASE("deepspeed: a configuration is read from a file", "[sharding]") {
  const rtrain::test::Folder folder;
  std::ofstream(folder / "zero.json") << R"({"zero_optimization": {"stage": 1}})";
  CHECK(DeepSpeedStrategy({.config = (folder / "zero.json").string()}).options().stage == 1);
  CHECK_THROWS_WITH(DeepSpeedStrategy({.config = (folder / "none.json").string()}),
                    Contains("could not be read"));
}

TEST_CASE("deepspeed: what does not act is refused by name, all at once", "[sharding]") {
  const auto config = json::parse(R"({
    "zero_optimization": {"stage": 2, "offload_optimizer": {"device": "nvme"}, "mics_shard_size": 8},
    "gradient_clipping": 1.0,
    "optimizer": {"type": "Adam"},
    "something": 1
  })");
  CHECK_THROWS_WITH(DeepSpeedStrategy({.config = config}),
                    Contains("offload_optimizer.device is \"nvme\"") &&
                        Contains("mics_shard_size is not known") && Contains("gradient_clip_val") &&
                        Contains("configure_optimizers()") && Contains("something is not known"));
  CHECK_THROWS_WITH(DeepSpeedStrategy({.stage = 4}), Contains("stage is 4"));
  CHECK_THROWS_WITH(DeepSpeedStrategy({.stage = 2, .offload_parameters = true}), Contains("needs stage 3"));
}

TEST_CASE("deepspeed: each stage has a name", "[sharding]") {
  for (const std::string name :
       {"fsdp", "fsdp_cpu_offload", "deepspeed", "deepspeed_stage_1", "deepspeed_stage_1_offload",
        "deepspeed_stage_2", "deepspeed_stage_2_offload", "deepspeed_stage_3", "deepspeed_stage_3_offload"}) {
    INFO(name);
    CHECK(rtrain::Names<rtrain::Strategy>::make(name) != nullptr);
  }
}

}  // namespace deepspeed_test
