#include "proto/tensors/safetensors_file.h"
#include "proto/tensors/torch_file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <rtrain/safetensors.h>
#include <rtrain/weights.h>

#include <torch/nn/modules/linear.h>

#include <ATen/ops/equal.h>

#include <fstream>

namespace weights_torch_file_test {

using namespace rtrain;

TEST_CASE("load_weights: a file of torch.save", "[unit][checkpoint]") {
  const test::TempDir folder;
  const auto path = [&](const char* name) { return std::filesystem::path(folder.path()) / name; };
  torch::nn::Linear from(3, 2), to(3, 2);
  save_safetensors(path("w.safetensors"), {{{"weight", from->weight}, {"bias", from->bias}}, {}});
  const auto opened = tensors::open_safetensors(path("w.safetensors").string());
  REQUIRE(static_cast<bool>(opened));
  REQUIRE(static_cast<bool>(tensors::write_torch_file(path("w.pt").string(), opened->tensors)));
  CHECK(load_weights(*to, path("w.pt")).loaded.size() == 2);
  CHECK(at::equal(from->weight, to->weight));
  CHECK(at::equal(from->bias, to->bias));

  std::ofstream(path("broken.pt")) << "PK\x03\x04 and no more";
  CHECK_THROWS_WITH(load_weights(*to, path("broken.pt")), Catch::Contains("broken.pt"));
}

}  // namespace weights_torch_file_test
