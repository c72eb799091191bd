// The same training function from a program: TorchTrainer starts the workers, waits, and gives the Result.
#include <rtrain/rtrain.h>

#include <iostream>

void train_func(const rtrain::Config& config);  // train.cpp

int main() {
  const rtrain::Result result =
      rtrain::TorchTrainer(train_func, {.num_workers = 2}, {.name = "fit", .storage_path = "results"},
                           {{"max_epochs", 3}})
          .fit();
  if (result.error) {
    std::cerr << result.error->message << '\n';
    return 1;
  }
  std::cout << "accuracy " << result.metrics.at("accuracy") << "\ncheckpoint "
            << result.checkpoint->path().string() << "\nfolder " << result.path.string() << '\n';
}
