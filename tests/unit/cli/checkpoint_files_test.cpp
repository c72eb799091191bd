#include "cli/checkpoint_files.h"

#include "proto/tensors/checksums.h"
#include "proto/tensors/safetensors_file.h"
#include "proto/tensors/torch_file.h"
#include "tests/support/tensor_files.h"

namespace checkpoint_files_test {

using namespace rtrain;
using namespace rtrain::cli;
using Catch::Matchers::Contains;

namespace {

class Scene {
 public:
  const test::TempDir dir;

  void safetensors(const std::string& name) {
    REQUIRE(tensors::write_safetensors((dir / name).string(), {tensor()}, {}).has_value());
  }
  void torch(const std::string& name) {
    REQUIRE(tensors::write_torch_file((dir / name).string(), {tensor()}).has_value());
  }
  void text(const std::string& name, const std::string& text) { test::write_bytes(dir / name, text); }
  void folder(const std::string& name) { std::filesystem::create_directories(dir / name); }
  CheckpointFiles open(const std::string& name) {
    auto opened = open_checkpoint((dir / name).string());
    if (!opened) FAIL(opened.error().message());
    return *opened;
  }
  Error refused(const std::string& name) {
    const auto opened = open_checkpoint((dir / name).string());
    REQUIRE(opened.has_error());
    return opened.error();
  }

 private:
  tensors::Tensor tensor() { return test::make_tensor<float>(dir, "w", "F32", {2}, {1, 2}); }
};

}  // namespace

TEST_CASE("checkpoint_files: a Trainer's folder, by itself and as it is reported", "[unit][cli]") {
  Scene scene;
  scene.folder("run/checkpoint.ckpt");
  scene.safetensors("run/checkpoint.ckpt/optimizer.safetensors");
  scene.safetensors("run/checkpoint.ckpt/model.safetensors");
  scene.text("run/checkpoint.ckpt/loop.json", R"({"format":"rtrain-checkpoint","version":2,"epoch":3})");
  for (const char* name : {"run", "run/", "run/checkpoint.ckpt"}) {
    const auto opened = scene.open(name);
    CHECK(opened.kind == CheckpointKind::kTrainer);
    CHECK(opened.reported == (std::string(name).starts_with("run/c") ? "" : (scene.dir / "run").string()));
    CHECK(opened.files == std::vector<std::string>{"model.safetensors", "optimizer.safetensors"});
    CHECK(opened.weights().size() == 1);
    CHECK(opened.groups.size() == 2);
    CHECK(opened.plain["epoch"] == 3);
  }
  const auto loop_of = [](std::int64_t version) {
    return proto::dump_json({{"format", "rtrain-checkpoint"}, {"version", version}});
  };
  scene.text("run/checkpoint.ckpt/loop.json", loop_of(tensors::kLoopVersion));  // that of the Trainer
  CHECK(scene.open("run").plain["version"] == tensors::kLoopVersion);
  scene.text("run/checkpoint.ckpt/loop.json", loop_of(tensors::kLoopVersion + 1));
  CHECK_THAT(scene.refused("run").message(), Contains("has version 4"));
  scene.text("run/checkpoint.ckpt/loop.json", "{");
  CHECK_THAT(scene.refused("run").message(), Contains("loop.json"));
}

TEST_CASE("checkpoint_files: a checkpoint that an older Trainer wrote", "[unit][cli]") {
  const auto opened = open_checkpoint(RTRAIN_SOURCE_DIR "/tests/golden/checkpoint_v2/step3");
  REQUIRE(opened.has_value());
  CHECK(opened->kind == CheckpointKind::kTrainer);
  CHECK(opened->plain["global_step"] == 3);
  CHECK_FALSE(opened->weights().empty());
  const auto keyed = open_checkpoint(RTRAIN_SOURCE_DIR "/tests/golden/checkpoint_v2/step3", "state_dict");
  REQUIRE(keyed.has_error());
  CHECK(keyed.error().code() == Errc::kInvalidArgument);
}

TEST_CASE("checkpoint_files: files and folders of other programs", "[unit][cli]") {
  Scene scene;
  scene.torch("w.pt");
  CHECK(scene.open("w.pt").kind == CheckpointKind::kTorch);
  std::filesystem::copy_file(scene.dir / "w.pt", scene.dir / "without-a-suffix");
  CHECK(scene.open("without-a-suffix").kind == CheckpointKind::kTorch);
  scene.safetensors("any.safetensors");
  CHECK(scene.open("any.safetensors").weights().size() == 1);
  scene.folder("folder");
  scene.safetensors("folder/first.safetensors");
  scene.safetensors("folder/second.safetensors");
  CHECK(scene.open("folder").weights().size() == 2);
  scene.text("folder/model.safetensors.index.json", R"({"weight_map":{"w":"first.safetensors"}})");
  CHECK(scene.open("folder").kind == CheckpointKind::kSharded);
  CHECK(scene.open("folder/model.safetensors.index.json").files ==
        std::vector<std::string>{"first.safetensors"});
  scene.folder("reported");
  std::filesystem::copy_file(scene.dir / "w.pt", scene.dir / "reported/checkpoint.ckpt");
  CHECK(scene.open("reported").kind == CheckpointKind::kTorch);
}

TEST_CASE("checkpoint_files: a reported folder of other files has its checksums", "[unit][cli]") {
  Scene scene;
  scene.folder("reported");
  scene.text("reported/net.bin", "weights");
  CHECK_THAT(scene.refused("reported").message(), Contains("holds neither model.safetensors"));
  const auto folder = (scene.dir / "reported").string();
  REQUIRE(tensors::write_checksums(folder, tensors::make_checksums(folder).value()).has_value());
  const auto opened = scene.open("reported");
  CHECK(opened.kind == CheckpointKind::kFiles);
  CHECK(opened.groups.empty());
}

TEST_CASE("checkpoint_files: what is no checkpoint", "[unit][cli]") {
  Scene scene;
  CHECK(scene.refused("none").code() == Errc::kNotFound);
  scene.folder("empty");
  CHECK_THAT(scene.refused("empty").message(), Contains("holds neither model.safetensors"));
  scene.text("f", "hello");
  CHECK(scene.refused("f").code() == Errc::kIo);
  scene.text("f.pt", "hello");
  CHECK_THAT(scene.refused("f.pt").message(), Contains("no zip archive"));
}

}  // namespace checkpoint_files_test
