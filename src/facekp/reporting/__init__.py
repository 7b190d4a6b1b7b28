"""What people look at: pages (`html`), pictures, tables, the ablation, the ladder, `bench` and the W&B dashboard."""
